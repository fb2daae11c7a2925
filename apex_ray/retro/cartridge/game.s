; The demo cartridge: a side-scroller for the Mega Drive, assembled by assembler.py whenever it is needed.
;
; A figure runs to the right through a level that repeats every 512 pixels: a step to jump onto, a pit to jump over.
; LEFT and RIGHT run, B jumps, DOWN halves the top speed, DOWN+B on the ground is a dash. START begins the level that
; zone, act and game name. Falling into a pit costs a life and, a second later, starts from the left again.
;
; Its variables lie where the three Sonic games have theirs (all three places at once), so that the data.json,
; contest.json and Lua that stable-retro ships for those games read this one unchanged. Nothing else is theirs.

; ---- variables, in work RAM, which ends at $FFFFFF: short addresses reach its upper half

player_x1       equ $D008       ; Sonic 1
player_y1       equ $D00C
player_x2       equ $B008       ; Sonic 2
player_y2       equ $B00C
player_x3       equ $B010       ; Sonic 3 & Knuckles
player_y3       equ $B014
camera_x1       equ $F700
camera_x2       equ $EE00
camera_x3       equ $EE78
zone            equ $FE10
act             equ $FE11
lives           equ $FE12
rings           equ $FE20       ; here only a count of 128-pixel stretches
score           equ $FE26       ; here only the best x
game_mode       equ $F600
special_stage   equ $FE48

game            equ $8000       ; 1, 2 or 3, like zone and act set from outside before START
speed_x         equ $8002       ; pixels a frame
speed_y         equ $8004
in_air          equ $8006
step_column     equ $8008       ; columns of 8 pixels, of 64
pit_column      equ $800A
best_x          equ $800C
dead_frames     equ $800E       ; until the figure stands at the start again

; ---- sizes

run_speed       equ 4
roll_speed      equ 2
dash_speed      equ 6
jump_speed      equ 8
start_x         equ 96
ground_y        equ 168         ; of the feet, which are 16 below the figure's y
step_y          equ 144
no_ground_y     equ 1000
lost_y          equ 240
change_x        equ $2000       ; where the long levels of game 3 go over into their second act,
change_back     equ $1000       ; and how far x goes back there: whole repetitions, so that nothing is seen of it

; ---- set up the machine

start:
        move.w  #$2700,sr
        move.b  $A10001,d0
        andi.b  #$0F,d0
        beq     no_lock
        move.l  #$53454741,$A14000      ; later consoles want to read SEGA here before they show a picture
no_lock:
        lea     $C00004,a1              ; video: control port
        lea     $C00000,a2              ; video: data port
        lea     $A10003,a3              ; first pad
        lea     video_registers(pc),a0
        moveq   #18,d0
set_register:
        move.w  (a0)+,(a1)
        dbra    d0,set_register
        move.l  #$40000000,(a1)         ; clear video RAM
        move.w  #$7FFF,d0
clear_video:
        move.w  #0,(a2)
        dbra    d0,clear_video
        move.l  #$40000010,(a1)         ; no vertical scroll
        move.l  #0,(a2)
        move.l  #$C0000000,(a1)
        lea     palette(pc),a0
        moveq   #15,d0
set_colour:
        move.w  (a0)+,(a2)
        dbra    d0,set_colour
        move.l  #$40200000,(a1)         ; tiles, from number 1
        lea     tiles(pc),a0
        move.w  #tiles_end-tiles,d0
        lsr.w   #1,d0
        subq.w  #1,d0
set_tile:
        move.w  (a0)+,(a2)
        dbra    d0,set_tile
        move.b  #$40,$A10009            ; the pad's select line is an output
        clr.w   zone.w                  ; and act
        move.b  #1,game.w
        bsr     begin_level

; ---- one frame

frame:
        move.w  (a1),d0                 ; wait until the picture has been drawn
        btst    #3,d0
        bne     frame
wait_blank:
        move.w  (a1),d0
        btst    #3,d0
        beq     wait_blank

        move.w  player_x1.w,d0          ; the camera holds the figure in the middle
        subi.w  #152,d0
        bge     camera_ok
        moveq   #0,d0
camera_ok:
        move.w  d0,camera_x1.w
        move.w  d0,camera_x2.w
        move.w  d0,camera_x3.w
        move.w  d0,d1
        neg.w   d1
        move.l  #$7C000003,(a1)         ; horizontal scroll of both planes
        move.w  d1,(a2)
        move.w  d1,(a2)
        move.l  #$70000003,(a1)         ; the figure: sprite 0, 2 x 2 tiles from number 5
        move.w  player_y1.w,d1
        addi.w  #128,d1
        move.w  d1,(a2)
        move.w  #$0500,(a2)
        move.w  #5,(a2)
        move.w  player_x1.w,d1
        sub.w   d0,d1
        addi.w  #128,d1
        move.w  d1,(a2)

        move.b  #$40,(a3)               ; read the pad, in two halves
        nop
        nop
        move.b  (a3),d7
        move.b  #$00,(a3)
        nop
        nop
        move.b  (a3),d1
        andi.b  #$3F,d7
        andi.b  #$30,d1
        lsl.b   #2,d1
        or.b    d1,d7
        not.b   d7                      ; d7: START A C B RIGHT LEFT DOWN UP, 1 is pressed

        btst    #7,d7
        beq     no_start
        bsr     begin_level
no_start:
        tst.w   dead_frames.w
        beq     walk
        subq.w  #1,dead_frames.w
        bne     end_frame
        bsr     stand_at_start

; ---- speed from the buttons

walk:
        move.w  speed_x.w,d2
        moveq   #run_speed,d4
        btst    #1,d7
        beq     upright
        moveq   #roll_speed,d4
upright:
        btst    #3,d7
        beq     not_right
        addq.w  #1,d2
        cmp.w   d4,d2
        ble     speed_known
        move.w  d4,d2
        bra     speed_known
not_right:
        btst    #2,d7
        beq     no_direction
        subq.w  #1,d2
        neg.w   d4
        cmp.w   d4,d2
        bge     speed_known
        move.w  d4,d2
        bra     speed_known
no_direction:
        tst.w   in_air.w                ; friction, on the ground only
        bne     speed_known
        tst.w   d2
        beq     speed_known
        bgt     slower
        addq.w  #2,d2
slower:
        subq.w  #1,d2
speed_known:
        btst    #4,d7                   ; B
        beq     move_x
        tst.w   in_air.w
        bne     move_x
        btst    #1,d7
        beq     jump
        moveq   #dash_speed,d2
        bra     move_x
jump:
        move.w  #-jump_speed,speed_y.w

; ---- move, against walls and ground

move_x:
        move.w  d2,speed_x.w
        move.w  player_x1.w,d0
        add.w   d2,d0
        cmpi.w  #16,d0
        bge     inside
        moveq   #16,d0
inside:
        bsr     find_ground
        move.w  player_y1.w,d3
        addi.w  #16,d3
        cmp.w   d1,d3                   ; feet below the ground over there: a wall
        ble     no_wall
        clr.w   speed_x.w
        move.w  player_x1.w,d0
        bsr     find_ground
no_wall:
        move.w  d0,player_x1.w
        move.w  speed_y.w,d2
        addq.w  #1,d2                   ; gravity
        add.w   d2,d3
        move.w  #1,in_air.w
        cmp.w   d1,d3
        blt     flying
        move.w  d1,d3
        moveq   #0,d2
        clr.w   in_air.w
flying:
        move.w  d2,speed_y.w
        subi.w  #16,d3
        move.w  d3,player_y1.w
        cmpi.w  #lost_y,d3
        blt     alive
        subq.b  #1,lives.w
        move.w  #60,dead_frames.w
alive:
        bsr     change_act
        move.w  player_x1.w,d0
        cmp.w   best_x.w,d0
        ble     end_frame
        move.w  d0,best_x.w
        move.w  d0,score+2.w
        lsr.w   #7,d0
        move.w  d0,rings.w
end_frame:
        bsr     tell_all_games
        bra     frame

; ---- as Sonic 3 & Knuckles does in zones 0 and 5: the level goes on as act 2, with an x that starts anew

change_act:
        cmpi.b  #3,game.w
        bne     same_act
        tst.b   act.w
        bne     same_act
        move.w  player_x1.w,d0
        cmpi.w  #change_x,d0
        blt     same_act
        tst.b   zone.w
        beq     new_act
        cmpi.b  #5,zone.w
        bne     same_act
new_act:
        move.b  #1,act.w
        subi.w  #change_back,player_x1.w
        subi.w  #change_back,camera_x1.w
        subi.w  #change_back,camera_x2.w
        subi.w  #change_back,camera_x3.w
same_act:
        rts

; ---- start a level: where its step and pit are, and its sky, say act and zone

begin_level:
        move.b  #3,lives.w
        move.b  #12,game_mode.w
        clr.b   special_stage.w
        clr.w   rings.w
        clr.l   score.w
        clr.w   best_x.w
        moveq   #0,d0
        move.b  act.w,d0
        lsl.w   #2,d0
        addi.w  #24,d0
        move.w  d0,step_column.w
        moveq   #0,d0
        move.b  zone.w,d0
        move.w  d0,d1
        andi.w  #7,d0
        add.w   d0,d0
        addi.w  #44,d0
        move.w  d0,pit_column.w
        lsl.w   #5,d1
        addi.w  #$0A42,d1
        andi.w  #$0EEE,d1
        move.l  #$C0000000,(a1)
        move.w  d1,(a2)

        move.l  #$40000003,(a1)         ; plane A: 28 rows of 64 tiles
        moveq   #0,d2
draw_row:
        moveq   #0,d3
draw_column:
        moveq   #0,d4
        cmpi.w  #21,d2                  ; ground_y / 8
        blt     above_ground
        move.w  pit_column.w,d5
        cmp.w   d5,d3
        blt     solid
        addq.w  #3,d5
        cmp.w   d5,d3
        blt     put_tile
solid:
        moveq   #2,d4                   ; grass
        cmpi.w  #21,d2
        beq     put_tile
        moveq   #1,d4                   ; bricks
        bra     put_tile
above_ground:
        cmpi.w  #18,d2                  ; step_y / 8
        blt     sky
        move.w  step_column.w,d5
        cmp.w   d5,d3
        blt     put_tile
        addq.w  #2,d5
        cmp.w   d5,d3
        bge     put_tile
        moveq   #3,d4                   ; step
        bra     put_tile
sky:
        move.w  d3,d5                   ; a star where 3 x column + row is a multiple of 16
        add.w   d5,d5
        add.w   d3,d5
        add.w   d2,d5
        andi.w  #15,d5
        bne     put_tile
        moveq   #4,d4
put_tile:
        move.w  d4,(a2)
        addq.w  #1,d3
        cmpi.w  #64,d3
        blt     draw_column
        addq.w  #1,d2
        cmpi.w  #28,d2
        blt     draw_row

stand_at_start:
        move.w  #start_x,player_x1.w
        move.w  #ground_y-16,player_y1.w
        clr.w   speed_x.w
        clr.w   speed_y.w
        clr.w   in_air.w
        clr.w   dead_frames.w
tell_all_games:
        move.w  player_x1.w,player_x2.w
        move.w  player_x1.w,player_x3.w
        move.w  player_y1.w,player_y2.w
        move.w  player_y1.w,player_y3.w
        rts

find_ground:                            ; d1: the ground's y below a figure whose x is d0
        move.w  d0,d1
        addq.w  #8,d1
        lsr.w   #3,d1
        andi.w  #63,d1
        move.w  step_column.w,d5
        cmp.w   d5,d1
        blt     no_step
        addq.w  #2,d5
        cmp.w   d5,d1
        bge     no_step
        move.w  #step_y,d1
        rts
no_step:
        move.w  pit_column.w,d5
        cmp.w   d5,d1
        blt     flat
        addq.w  #3,d5
        cmp.w   d5,d1
        bge     flat
        move.w  #no_ground_y,d1
        rts
flat:
        move.w  #ground_y,d1
        rts

; ---- 320 x 224 pixels, planes of 64 x 32 tiles: A at $C000, B at $E000, sprites at $F000, scroll at $FC00

video_registers:
        dc.w    $8004,$8144,$8230,$8300,$8407,$8578,$8600,$8700,$8800,$8900
        dc.w    $8AFF,$8B00,$8C81,$8D3F,$8E00,$8F02,$9001,$9100,$9200

palette:                                ; blue, green, red: 4 bits each; colour 0 is the sky
        dc.w    $0A42,$0000,$0EEE,$0000,$0000,$026A,$0248,$04C4
        dc.w    $0282,$08AE,$0CEE,$0E40,$08CE,$0EEE,$000E,$0888

tiles:                                  ; a digit a pixel
bricks:
        dc.l    $55555556
        dc.l    $55555556
        dc.l    $55555556
        dc.l    $66666666
        dc.l    $55565555
        dc.l    $55565555
        dc.l    $55565555
        dc.l    $66666666
grass:
        dc.l    $77777777
        dc.l    $77777777
        dc.l    $77777777
        dc.l    $88788788
        dc.l    $88888888
        dc.l    $88888888
        dc.l    $55888555
        dc.l    $55555555
step:
        dc.l    $99999999
        dc.l    $92222229
        dc.l    $92222229
        dc.l    $92299229
        dc.l    $92299229
        dc.l    $92222229
        dc.l    $92222229
        dc.l    $99999999
star:
        dc.l    $00000000
        dc.l    $00000000
        dc.l    $000A0000
        dc.l    $00AAA000
        dc.l    $000A0000
        dc.l    $00000000
        dc.l    $00000000
        dc.l    $00000000
figure:                                 ; left half, upper and lower, then the right half
        dc.l    $00000BBB
        dc.l    $000BBBBB
        dc.l    $00BBBBBB
        dc.l    $0BBBBBBB
        dc.l    $0BBBBBBB
        dc.l    $BBBBBBBB
        dc.l    $0BBBBBBC
        dc.l    $00BBBBBC

        dc.l    $000BBBBB
        dc.l    $0000BBBB
        dc.l    $00CCBBBC
        dc.l    $00CCBBCC
        dc.l    $0000BBBC
        dc.l    $0000BBB0
        dc.l    $000EEEE0
        dc.l    $00EEEEE0

        dc.l    $BBB00000
        dc.l    $BBBBB000
        dc.l    $BBBBBBB0
        dc.l    $DDBBDDB0
        dc.l    $DDBBDDB0
        dc.l    $BBBBBBBB
        dc.l    $CCCCCBB0
        dc.l    $CCCCCB00

        dc.l    $BBBBB000
        dc.l    $BBBB0000
        dc.l    $CBBBCC00
        dc.l    $CCBBCC00
        dc.l    $CBBB0000
        dc.l    $0BBB0000
        dc.l    $0EEEE000
        dc.l    $0EEEEE00
tiles_end:
