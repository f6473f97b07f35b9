"""Common names of columns and their meaning.

Names are compared by letters and digits only, case-folded: `System Prompt`, `system_prompt` and `systemPrompt` are equal.
"""

from collections.abc import Iterable, Mapping, Sequence


def plain(name: str) -> str:
    """Return a name in the form for comparison."""
    return "".join(filter(str.isalnum, name.casefold()))


# Of each of these lists, the first name that is a column is read.
SYSTEM = "system system_prompt system_message system_instruction sys_prompt".split()
HISTORY = "history chat_history conversation_history dialogue_history previous_turns".split()
TOOLS = "tools functions available_tools tool_definitions function_definitions".split()
REASONING = "reasoning_content reasoning thinking thoughts thought chain_of_thought cot rationale".split()
OWN_ID = """id uid uuid guid idx index row_id example_id sample_id prompt_id question_id conversation_id
            conv_id message_id doc_id task_id problem_id key""".split()
# All of these are appended to the prompt, in this order.
FURTHER = "input context contexts passage passages document paragraph background evidence".split()
CHOICES = "choices options".split()
# Columns of conversations.
CONVERSATIONS = "messages conversations conversation dialog dialogue dialogs chat turns".split()
CHOSEN = "chosen preferred preferred_output chosen_response".split()
REJECTED = "rejected non_preferred_output rejected_response".split()


def first_of(names: Iterable[str], columns: Sequence[str]) -> str | None:
    """Return the column that matches the first possible of `names`, or None."""
    spelling = spelt(columns)
    return next((spelling[plain(name)] for name in names if plain(name) in spelling), None)


def all_of(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """Return the columns that match `names`, in the order of `names`."""
    spelling = spelt(columns)
    return [spelling[plain(name)] for name in names if plain(name) in spelling]


def spelt(columns: Sequence[str]) -> Mapping[str, str]:
    """Map names for comparison to columns; of equal names, the first column."""
    return {plain(column): column for column in reversed(columns)}


def without(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """Return the columns that match none of `names`."""
    excluded = set(map(plain, names))
    return [column for column in columns if plain(column) not in excluded]
