"""Greetings, questions about the assistant, and questions that it can't answer."""

from stages.synthesize.talk.draws import Draws
from stages.synthesize.talk.exchange import Exchange, exchange

NAME = "Robin"
UNKNOWN = "Sorry, I don't know that."

TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        (
            *("What is your name?", "What's your name?", "Who are you?", "Tell me your name."),
            *(
                "What are you called?",
                "Do you have a name?",
                "May I ask your name?",
                "What should I call you?",
            ),
            *("Please tell me your name.", "Who am I talking to?"),
        ),
        (f"My name is {NAME}.", f"I am {NAME}.", f"You can call me {NAME}."),
    ),
    (
        (
            *("How are you?", "How are you today?", "How do you feel?", "Are you well?", "How is it going?"),
            *("How are you doing?", "How do you feel today?", "Are you feeling good?", "How have you been?"),
            *("I hope you are well.",),
        ),
        ("I am fine, thank you.", "Very well, thank you."),
    ),
    (
        (
            *("Thank you.", "Thanks.", "Thank you very much.", "Thanks a lot.", "Many thanks."),
            *(
                "Thank you, that was helpful.",
                "Thanks for your help.",
                "Great, thank you.",
                "Thank you so much.",
            ),
            *("That was nice of you, thanks.",),
        ),
        ("You're welcome.", "My pleasure."),
    ),
    (
        (
            *(
                "Goodbye.",
                "Bye bye.",
                "See you later.",
                "Goodbye for now.",
                "I have to go now.",
                "See you soon.",
            ),
            *("That is all, goodbye.", "Have a nice day, goodbye.", "Until next time.", "Good night."),
        ),
        ("Goodbye, see you soon.", "Goodbye, have a nice day."),
    ),
    (
        (
            *("Hello.", "Hi there.", "Good morning.", "Good evening.", "Hello there.", "Good afternoon."),
            *("Hello, can you hear me?", "Hi, how nice to meet you.", "Hello Robin.", "Good day."),
        ),
        ("Hello, how can I help?", "Hello, nice to hear you."),
    ),
    (
        (
            *("What can you do?", "What can I ask you?", "What do you know?", "How can you help me?"),
            *("What are you good at?", "Tell me what you can do.", "What can you help me with?"),
            *("What are you able to do?", "What sort of things can you do?", "What can I say to you?"),
        ),
        ("I can add, count, spell and repeat after you.",),
    ),
    (
        (
            *("Are you a person?", "Are you human?", "Are you a real person?", "Are you alive?"),
            *("Are you a machine?", "Are you a robot?", "Are you a computer?", "What kind of thing are you?"),
            *("Is there a person talking to me?", "Are you real?"),
        ),
        ("I am a small computer program.",),
    ),
    (
        (
            *("You are funny.", "Well done.", "That was right.", "You are very clever.", "Good job."),
            *(
                "I like you.",
                "You did that well.",
                "That was very good.",
                "Nice work.",
                "You are a good helper.",
            ),
        ),
        ("How kind of you.", "I am glad to hear that."),
    ),
)
"""Questions that all have the same answers."""

CANNOT_KNOW = (
    *("What time is it?", "What is the weather like?", "Will it rain tomorrow?", "How old am I?"),
    *("Where are my keys?", "What did I eat today?", "Who won the game?", "Where do I live?"),
    *("What is the capital of Spain?", "How tall is that tower?", "When does the train leave?"),
    *("How much does this cost?", "Who is at the door?", "What is in the news?", "Where is the station?"),
    *(
        "What day is it today?",
        "How many people live here?",
        "Who wrote that book?",
        "What is on television?",
    ),
    *("How far is the moon?", "What is my phone number?", "When is the next bus?", "Why is the sky blue?"),
    *("Who painted this picture?", "How do I bake a cake?", "What is the meaning of life?"),
    *("How do airplanes fly?", "What should I wear today?", "Is the shop open?", "What is he thinking?"),
    *("How heavy is a whale?", "Who is the king?", "Where can I buy shoes?", "What was that noise?"),
    *("When was I born?", "How deep is the ocean?", "What is the best song?", "Where did she go?"),
    *("How fast can a cheetah run?", "Who lives next door?"),
)


def small_talk(draws: Draws) -> Exchange:
    questions, answers = draws.one(TALK)
    return exchange(draws, "small talk", questions, answers, openings=False)


def cannot_know(draws: Draws) -> Exchange:
    return exchange(draws, "cannot know", CANNOT_KNOW, (UNKNOWN,))
