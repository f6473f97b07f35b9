"""What columns are called in people's data, and what each name means.

Names are compared by their letters and digits alone, in lower case: `System Prompt`, `system_prompt` and `systemPrompt`
are one name.
"""

from collections.abc import Iterable, Mapping, Sequence


def plain(name: str) -> str:
    """A name as it is compared."""
    return "".join(filter(str.isalnum, name.casefold()))


# Of each kind the first name that the rows have is read.
SYSTEM = "system system_prompt system_message system_instruction sys_prompt".split()
HISTORY = "history chat_history conversation_history dialogue_history previous_turns".split()
TOOLS = "tools functions available_tools tool_definitions function_definitions".split()
REASONING = "reasoning_content reasoning thinking thoughts thought chain_of_thought cot rationale".split()
OWN_ID = """id uid uuid guid idx index row_id example_id sample_id prompt_id question_id conversation_id
            conv_id message_id doc_id task_id problem_id key""".split()
# All of these belong to the prompt, in this order.
FURTHER = "input context contexts passage passages document paragraph background evidence".split()
CHOICES = "choices options".split()
# A dict or list inside a cell.
CONVERSATIONS = "messages conversations conversation dialog dialogue dialogs chat turns".split()
CHOSEN = "chosen preferred preferred_output chosen_response".split()
REJECTED = "rejected non_preferred_output rejected_response".split()


def first_of(names: Iterable[str], columns: Sequence[str]) -> str | None:
    """The first of `names` that is a column, as the columns spell it."""
    spelling = spelt(columns)
    return next((spelling[plain(name)] for name in names if plain(name) in spelling), None)


def all_of(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """All of `names` that are columns, as the columns spell them."""
    spelling = spelt(columns)
    return [spelling[plain(name)] for name in names if plain(name) in spelling]


def spelt(columns: Sequence[str]) -> Mapping[str, str]:
    """Compared name -> column; of columns that compare alike the first."""
    return {plain(column): column for column in reversed(columns)}


def without(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """The columns that have none of `names`."""
    left_out = set(map(plain, names))
    return [column for column in columns if plain(column) not in left_out]
