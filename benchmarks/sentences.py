"""Sentences to be said that are in no corpus of ours."""

# The Japanese in kana, as spoken.
UNSEEN = {
    "en": (
        "The children played outside until it was dark.",
        "Please leave your name and number after the tone.",
        "She bought two tickets for the evening show.",
        "A cold wind blew across the empty harbour.",
        "My brother works in a small office downtown.",
        "They found the missing key under the carpet.",
        "Nobody knows what will happen tomorrow.",
        "The doctor asked him to breathe slowly.",
        "We have enough food for the whole week.",
        "Turn left at the corner and walk to the bridge.",
    ),
    "ja": (
        "きょうわ とても さむいです。",
        "あしたの あさ えきで あいましょう。",
        "この みせの りょうりわ おいしい。",
        "でんわばんごうを おしえて ください。",
        "こどもたちわ うみで およいで います。",
        "かれわ まいにち しんぶんを よみます。",
        "つくえの うえに めがねが あります。",
        "らいねん にほんへ いきたいです。",
        "ちいさな とりが きの うえで うたう。",
        "ゆうがたから あめが ふるでしょう。",
    ),
}

# Twenty English ones: those of UNSEEN, and ten of other words.
NEW = (
    *UNSEEN["en"],
    "The train to the airport leaves in twenty minutes.",
    "He wrote a short letter to his old teacher.",
    "There is a small garden behind the house.",
    "You can pay for the ticket at the front desk.",
    "The weather will be warm and dry on Sunday.",
    "My sister plays the violin in an orchestra.",
    "Close the window before you go to bed.",
    "The meeting was moved to the second floor.",
    "We walked along the beach for several hours.",
    "I would like a glass of cold water, please.",
)
