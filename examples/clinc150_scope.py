"""CLINC150's test split as a table of scope: support-related intents against chit-chat and out-of-scope questions.

    python examples/clinc150_scope.py clinc/clinc_oos:plus -o scope.jsonl       # or a file with text and intent
    python -m classifier evaluate --data scope.jsonl --by kind                  # "ROC AUC" of the task scope

The intents were chosen by what they ask (classifier/desks.py says what is in scope), not by any model's answers. Left
out are those that a desk may or may not get: the assistant's own settings, work, home, cars, recipes, travel advice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from classifier.errors import ClassifierError
from classifier.tables import read_table

#: Intents of CLINC150 (Larson et al. 2019) about banking, credit cards, bookings, journeys, orders and insurance.
SUPPORT = """
account_blocked balance bill_balance bill_due freeze_account interest_rate min_payment order_checks pay_bill pin_change
report_fraud routing spending_history transactions transfer application_status apr card_declined credit_limit
credit_limit_change credit_score damaged_card expiration_date improve_credit_score international_fees new_card
redeem_rewards replacement_card_duration report_lost_card rewards_balance accept_reservations book_flight book_hotel
cancel_reservation car_rental carry_on confirm_reservation flight_status insurance insurance_change lost_luggage
order_status restaurant_reservation travel_notification
"""
CHIT_CHAT = """
are_you_a_bot do_you_have_pets fun_fact goodbye greeting how_old_are_you meaning_of_life tell_joke thank_you
what_are_your_hobbies what_can_i_ask_you what_is_your_name where_are_you_from who_do_you_work_for who_made_you
"""

#: Intent to kind of message and scope.
KINDS = {
    **dict.fromkeys(SUPPORT.split(), ("support", "in_scope")),
    **dict.fromkeys(CHIT_CHAT.split(), ("chit-chat", "out_of_scope")),
    "oos": ("out of scope", "out_of_scope"),
}


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a file with the columns text and intent, or a data set of the Hub")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the JSON Lines file to write")
    arguments = parser.parse_args()
    counts = Counter[str]()
    try:
        table = read_table(arguments.table, "test")
        with arguments.out.open("w", encoding="utf-8") as out:
            for text, intent in zip(table["text"], table["intent"], strict=True):
                if intent in KINDS:
                    kind, scope = KINDS[intent]
                    counts[kind] += 1
                    out.write(json.dumps({"text": text, "scope": scope, "kind": kind}, ensure_ascii=False) + "\n")
    except KeyError as error:
        print(f"error: {arguments.table!r} has no column {error}.", file=sys.stderr)
        return 2
    except (ClassifierError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{kind}: {count:,}" for kind, count in counts.items()) or "no message found", file=sys.stderr)
    return 0 if counts else 2


if __name__ == "__main__":
    sys.exit(main())
