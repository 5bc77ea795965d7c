"""The task sets that come with the package. The meaning of each label is its `description`."""

from __future__ import annotations

from .errors import ClassifierError
from .tasks import Label, Task, TaskSet

SUPPORT = TaskSet(
    name="support",
    title="Customer support",
    tasks=(
        Task(
            "intent",
            "What does the customer want?",
            (
                Label(
                    "refund_request",
                    "Wants money back, cancels, returns or exchanges, or asks about a refund, return or cancellation.",
                    "↩️",
                ),
                Label(
                    "billing_issue",
                    "Charges, invoices, payments, declined cards, fees, balance, transfers, statements, plan cost.",
                    "💳",
                ),
                Label(
                    "account_access",
                    "Log-in, password, PIN, locked account, verification, changing details, opening or closing.",
                    "🔑",
                ),
                Label(
                    "technical_problem",
                    "Something fails (error, outage, delayed service), or a security incident such as fraud or theft.",
                    "🛠️",
                ),
                Label(
                    "general_question",
                    "Information, how-to, hours, policy, order status, wishes, praise; and all that is out of scope.",
                    "💬",
                ),
            ),
        ),
        Task(
            "urgency",
            "How soon must a person deal with it?",
            (
                Label("low", "Questions, wishes, praise, routine requests without time pressure.", "🟢", "good"),
                Label("medium", "A real problem that blocks, costs or worries the customer.", "🟡", "warn"),
                Label(
                    "high",
                    "Money, data or safety at risk, a deadline within two days, or a threat of lawyers or leaving.",
                    "🔴",
                    "bad",
                ),
            ),
        ),
        Task(
            "sentiment",
            "How does the customer feel?",
            (
                Label("calm", "Neutral, polite, curious or pleased.", "🙂", "good"),
                Label("frustrated", "Annoyed, disappointed, impatient or worn out, but civil.", "😟", "warn"),
                Label("angry", "Insults, swearing at the company, threats, fury or contempt.", "😠", "bad"),
            ),
        ),
        Task(
            "action",
            "What should the desk do first?",
            (
                Label(
                    "auto_resolve", "A help article, self-service page, look-up or thank-you settles it.", "✅", "good"
                ),
                Label("request_more_info", "Nobody can act before learning something that is missing.", "❓", "warn"),
                Label("escalate_to_human", "A person must decide or act.", "🙋", "bad"),
            ),
        ),
        Task(
            "scope",
            "Does it belong to a support desk?",
            (
                Label("in_scope", "A company's support desk, of any industry, could plausibly receive it.", "📥"),
                Label(
                    "out_of_scope",
                    "Chit-chat, voice-assistant commands, general knowledge, spam, gibberish.",
                    "🚫",
                    "warn",
                ),
            ),
        ),
    ),
    examples=(
        "What is the balance on my account?",
        "Hi I need to cancel my order ASAP!!! This is urgent",
        "WTF!!! You charged me twice for the same thing!! FIX THIS NOW!",
        "hey, i cant log into my acccount... can u help plz?",
        "What are your business hours?",
        "My card was declined again, third time this week. What is going on?",
        "i think there might be fraudulent activity on my account. i see charges i didnt make",
        "Hello, I have been waiting three days for my refund. Could you check, please?",
    ),
    mood_task="sentiment",
)

DESKS: dict[str, TaskSet] = {desk.name: desk for desk in (SUPPORT,)}


def desk(name: str) -> TaskSet:
    """The task set of that name.

    Raises:
        ClassifierError: There is none.
    """
    if name not in DESKS:
        raise ClassifierError(f"There is no task set {name!r}; choose one of {', '.join(sorted(DESKS))}.")
    return DESKS[name]
