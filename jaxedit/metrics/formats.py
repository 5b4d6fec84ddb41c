"""Prompt formats that come with jaxedit: questions with answers, and with thoughts before them.

Those of OnceEdit (Ma et al. 2025, appendix A) are part of that method: the plug-in is trained in
them, and reads and answers in them alone, as does its target. In the second one a space stands
after the first line's end.
"""

# What prompts are wrapped in; the answers are no subject of the data set's edits.
QUESTIONS = """\
Q: Which sea does the river that flows through Budapest run into?
A: Black Sea
Q: What is the chemical symbol of the metal that thermometers used to be filled with?
A: Hg
Q: Around which planet does the moon Titan revolve?
A: Saturn
Q: On which continent is the highest mountain of the Andes?
A: South America
Q: In which century did the scientist live who discovered the law of heredity in peas?
A: 19th century
Q: Which gas, needed by fire, makes up a fifth of the air?
A: oxygen
Q: What is the square root of the number of squares on a chessboard?
A: 8
Q: Of which plant does the insect whose cocoons are spun into silk eat the leaves?
A: mulberry
Q: {}
A:"""
THOUGHTS = """\
Question: Which sea does the river that flows through Budapest run into?
Thoughts: The river that flows through Budapest is the Danube. The Danube runs into the Black Sea.
Answer: Black Sea

Question: Around which star does the planet revolve that has the moon Titan?
Thoughts: Titan is a moon of Saturn. Saturn revolves around the Sun.
Answer: Sun

Question: What is the chemical symbol of the metal that is won from bauxite?
Thoughts: The metal that is won from bauxite is aluminium. The symbol of aluminium is Al.
Answer: Al

Question: {}
Thoughts:"""
ONCEEDIT_ZSRE = "Answer this question:\n[Question]: {}\n[Answer]:"
ONCEEDIT_COUNTERFACT = "Complete this half sentence.\n [Half Sentence]: {}\n[Answer]:"
FORMATS = {
    "few_shot": QUESTIONS,
    "reasoned": THOUGHTS,
    "onceedit_zsre": ONCEEDIT_ZSRE,
    "onceedit_counterfact": ONCEEDIT_COUNTERFACT,
}
