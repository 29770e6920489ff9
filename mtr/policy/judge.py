"""Whether a command may run, where, for how long, and beside how many others. Pure.

With an ``allow`` in force a command is an argv: a text is split into words by ``mtr.shell_words``, which refuses all
that a shell would do more, and the verdict holds the words. They have to be executed as they are; a shell that read the
text once more would undo what was judged. Without ``allow`` a text stays a text for the server's shell.

The files' policies are asked one by one and all have to agree, so none can widen what another one allows. A verdict
names the rule, and says what to do next; it never repeats an argument, which may be a secret.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from mtr.config.model import home_dir
from mtr.errors import MtrError, reveal_controls
from mtr.quoting import MAX_COMMAND_BYTES, quote_as_typed
from mtr.shell_words import NotPlainWords, find_flaw, list_commands, parse_argv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mtr.config.model import Config
    from mtr.config.policy import Pattern, Rules

ALLOWED, CONFIRM, REFUSED = "allowed", "confirm", "refused"

LOCAL = "local"
"""The name under which this machine stands among the servers."""

MAX_SHOWN = 12
_ASK = "tell the person, who may change the policy: mtr config show"


class PolicyRefused(MtrError):
    """The policy for agents forbids it, or nobody could be asked; nothing was done."""

    code = "policy"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request.

    ``outcome`` is ``allowed``, ``confirm`` or ``refused``. Of a command that is not refused one is set: ``argv``,
    to be executed as it is, or ``text``, for the server's shell. ``rule`` names what has decided, with its place;
    ``reason`` and ``hint`` are for the agent, ``question`` is for the person.
    """

    outcome: str
    argv: tuple[str, ...] | None = None
    text: str | None = None
    reason: str = ""
    rule: str = ""
    hint: str = ""
    question: str = ""

    def ensure(self) -> Verdict:
        """Return the verdict, which has to be ``allowed``.

        Raises:
            PolicyRefused: it is not.
        """
        if self.outcome != ALLOWED:
            raise PolicyRefused(self.reason, detail=f"the rule: {self.rule}" if self.rule else "", hint=self.hint)
        return self

    def settle(self, *, is_confirmed: bool) -> Verdict:
        """Return what is left of ``confirm`` once the person has answered: what they saw, or a refusal."""
        if self.outcome != CONFIRM:
            return self
        if is_confirmed:
            return replace(self, outcome=ALLOWED)
        reason = "the person has said no"
        return Verdict(REFUSED, reason=reason, rule=self.rule, hint="do it another way, or ask what they want instead")


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of all files, from weak to strong; ``configured`` are the names of the servers."""

    rules: tuple[Rules, ...] = ()
    configured: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether any file has a policy."""
        return bool(self.rules)

    @property
    def has_allow(self) -> bool:
        """Whether only listed commands run, and those as an argv."""
        return any(rules.allow is not None for rules in self.rules) or self.is_read_only

    @property
    def is_read_only(self) -> bool:
        """Whether nothing is put on a server."""
        return any(rules.read_only for rules in self.rules)

    @property
    def servers(self) -> tuple[str, ...]:
        """The names that may be used; meaningless where no policy is active."""
        # A file that lists none still speaks: for those that are configured. Another's list cannot add to them.
        known = tuple(dict.fromkeys([*self.configured, LOCAL]))
        lists = [known if rules.servers is None else rules.servers for rules in self.rules] or [known]
        return tuple(name for name in dict.fromkeys(lists[0]) if all(name in names for names in lists))

    @property
    def max_timeout_s(self) -> int | None:
        """The most seconds of one command, None without a limit; also what holds where none is asked for."""
        return _find_cap(rules.max_timeout_s for rules in self.rules)

    @property
    def max_output_bytes(self) -> int | None:
        """The most output of one answer, None without a limit; also what holds where none is asked for."""
        return _find_cap(rules.max_output_bytes for rules in self.rules)

    @property
    def max_running(self) -> int | None:
        """The most commands at once, None without a limit."""
        return _find_cap(rules.max_running for rules in self.rules)

    def judge(self, server: str, command: str | Sequence[str], *, can_ask: bool = False) -> Verdict:
        """Judge ``command``, a text as for a shell or an argv, on ``server``; ``can_ask``: the person can be asked."""
        refusal = self.judge_server(server)
        if refusal.outcome == REFUSED:
            return refusal
        try:
            verdict = self._read(command)
        except NotPlainWords as flaw:
            return self._refuse_text(str(flaw))
        return self._judge_denied(verdict) or self._judge_allowed(verdict) or self._ask(verdict, server, can_ask)

    def judge_server(self, server: str) -> Verdict:
        """Judge whether ``server`` may be used at all."""
        if not self.is_active or server in self.servers:
            return Verdict(ALLOWED)
        blocking = (r for r in self.rules if r.servers is not None and server not in r.servers)
        rule = next((_name_key(r, "servers") for r in blocking), "only servers that are configured, and local")
        may = ", ".join(self.servers) or "none"
        reason = f"the policy does not let you use the server {_show(server)}"
        return Verdict(REFUSED, reason=reason, rule=rule, hint=f"use one of: {may}" if self.servers else _ASK)

    def judge_change(self, server: str, what: str = "put files on") -> Verdict:
        """Judge whether files may be put on ``server``, by a sync or one by one."""
        verdict = self.judge_server(server)
        rules = next((rules for rules in self.rules if rules.read_only), None)
        if verdict.outcome == REFUSED or rules is None:
            return verdict
        reason = f"the policy is read-only, and does not let you {what} a server"
        return Verdict(REFUSED, reason=reason, rule=_name_key(rules, "read_only"), hint=_ASK)

    def judge_env(self, names: Iterable[str]) -> Verdict:
        """Judge whether a command may be given these environment variables besides those of the configuration."""
        if not self.has_allow or not [*names]:
            return Verdict(ALLOWED)
        rule = next((_name_key(r, "allow") for r in self.rules if r.allow is not None), "policy.read_only")
        reason = "the policy lists what may run, and a variable (PATH, LD_PRELOAD …) would change what that is"
        hint = "leave variables out; the person can set them under `env` of the server, or allow `env NAME=* PROGRAM *`"
        return Verdict(REFUSED, reason=reason, rule=rule, hint=hint)

    def resolve_timeout(self, asked_s: float | None) -> float | None:
        """Return the seconds that a command gets: what is asked for, or the most where nothing is.

        Raises:
            PolicyRefused: more is asked for than the policy gives, or what is no time.
        """
        return self._resolve(asked_s, self.max_timeout_s, "max_timeout", "seconds")

    def resolve_output(self, asked_bytes: int | None) -> int | None:
        """Return the bytes that one answer may hold: what is asked for, or the most where nothing is.

        Raises:
            PolicyRefused: as :meth:`resolve_timeout`.
        """
        found = self._resolve(asked_bytes, self.max_output_bytes, "max_output", "bytes")
        return None if found is None else int(found)

    def _resolve(self, asked: float | None, cap: int | None, key: str, unit: str) -> float | None:
        if asked is None:
            return cap
        if not (math.isfinite(asked) and asked > 0):
            raise PolicyRefused(f"{asked} is no number of {unit}", hint=f"give a number of {unit} above 0")
        if cap is not None and asked > cap:
            rules = next(rules for rules in self.rules if _value_of(rules, key) == cap)
            hint = f"ask for {cap} {unit} at most, or leave it out"
            raise PolicyRefused(
                f"{asked} {unit} is more than the policy's {cap}",
                detail=f"the rule: {_name_key(rules, key)}",
                hint=hint,
            )
        return asked

    def judge_start(self, running: int) -> Verdict:
        """Judge whether one more command may start while ``running`` do."""
        cap = self.max_running
        if cap is None or running < cap:
            return Verdict(ALLOWED)
        rules = next(rules for rules in self.rules if rules.max_running == cap)
        reason = f"{running} commands are running, and the policy lets {cap} run at once"
        hint = "wait until one has ended, or terminate one"
        return Verdict(REFUSED, reason=reason, rule=_name_key(rules, "max_running"), hint=hint)

    # -- one command

    def _read(self, command: str | Sequence[str]) -> Verdict:
        """Return the command as it would run, if nothing forbids it.

        Raises:
            NotPlainWords: it is no command, or a shell would have to read it where only an argv may run.
        """
        words = [command] if isinstance(command, str) else list(command)
        if flaw := next(filter(None, map(find_flaw, words)), ""):
            raise NotPlainWords(flaw)
        if len("\0".join(words).encode()) > MAX_COMMAND_BYTES:
            raise NotPlainWords(f"is longer than {MAX_COMMAND_BYTES:,} bytes")
        if isinstance(command, str) and not self.has_allow:
            if not command.strip():
                raise NotPlainWords("names no program")
            return Verdict(ALLOWED, text=command)
        argv = parse_argv(command) if isinstance(command, str) else tuple(words)
        if not argv or not argv[0]:
            raise NotPlainWords("names no program")
        return Verdict(ALLOWED, argv=argv)

    def _refuse_text(self, flaw: str) -> Verdict:
        reason = f"the command {flaw}"
        if not self.has_allow:
            return Verdict(REFUSED, reason=reason, hint="give a program and its arguments")
        rule = next((_name_key(r, "allow") for r in self.rules if r.allow is not None), "policy.read_only")
        hint = "no shell reads it: give one program and its arguments, with '...' around what is literal"
        return Verdict(REFUSED, reason=f"{reason}; the policy runs listed programs alone", rule=rule, hint=hint)

    def _judge_denied(self, verdict: Verdict) -> Verdict | None:
        for rules in self.rules:
            if pattern := _find_advice(rules.deny, verdict):
                reason = f"the policy forbids {_show(pattern.text)}"
                return Verdict(REFUSED, reason=reason, rule=_name_pattern(rules, "deny", pattern), hint=_ASK)
        return None

    def _judge_allowed(self, verdict: Verdict) -> Verdict | None:
        """Return the refusal of a command that some file's list lacks, or None."""
        if not self.has_allow or verdict.argv is None:
            return None
        listing = [rules for rules in self.rules if rules.allow is not None]
        for rules in listing:
            if not any(pattern.matches(verdict.argv) for pattern in rules.allow or ()):
                reason = f"the policy does not let you run this command of {_show(verdict.argv[0])}"
                return Verdict(REFUSED, reason=reason, rule=_name_key(rules, "allow"), hint=_offer(rules.allow or ()))
        if not listing:
            reason = "the policy is read-only and allows no command"
            rules = next(rules for rules in self.rules if rules.read_only)
            return Verdict(REFUSED, reason=reason, rule=_name_key(rules, "read_only"), hint=_ASK)
        return None

    def _ask(self, verdict: Verdict, server: str, can_ask: bool) -> Verdict:
        for rules in self.rules:
            if pattern := _find_advice(rules.confirm, verdict):
                rule = _name_pattern(rules, "confirm", pattern)
                reason = f"the policy has the person asked before {_show(pattern.text)}"
                if not can_ask:
                    hint = f"this client cannot ask: {_ASK}"
                    return Verdict(REFUSED, reason=reason, rule=rule, hint=hint)
                shown = verdict.text if verdict.argv is None else quote_as_typed(verdict.argv)
                question = f"Run this on {_show(server)}?\n{reveal_controls(shown or '')}"
                hint = "ask the person, and go on only with a yes"
                return replace(verdict, outcome=CONFIRM, reason=reason, rule=rule, hint=hint, question=question)
        return verdict


def _find_cap(caps: Iterable[int | None]) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)


def _value_of(rules: Rules, key: str) -> int | None:
    return rules.max_timeout_s if key == "max_timeout" else rules.max_output_bytes


def _find_advice(patterns: Sequence[Pattern], verdict: Verdict) -> Pattern | None:
    """Return the pattern of ``deny`` or ``confirm`` that means the command, wherever its program lies."""
    if not patterns:
        return None
    commands = [verdict.argv] if verdict.argv is not None else list_commands(verdict.text or "")
    for first, *rest in commands:
        spellings = [(first, *rest), (PurePath(first).name, *rest)]
        if found := next((pattern for pattern in patterns if any(map(pattern.matches, spellings))), None):
            return found
    return None


def _offer(patterns: Sequence[Pattern]) -> str:
    shown = [_show(pattern.text) for pattern in patterns[:MAX_SHOWN]]
    more = f", and {len(patterns) - MAX_SHOWN} more" if len(patterns) > MAX_SHOWN else ""
    return f"these may run: {'; '.join(shown)}{more}" if shown else _ASK


def _name_key(rules: Rules, key: str) -> str:
    return f"policy.{key} of {rules.file}"


def _name_pattern(rules: Rules, key: str, pattern: Pattern) -> str:
    place: object = pattern.position or rules.file
    return f"policy.{key}: {_show(pattern.text)} ({place})"


def _show(text: str) -> str:
    return reveal_controls(text if len(text) <= 80 else f"{text[:79]}…")


def build_policy(config: Config) -> Policy:
    """Return the policy of a configuration."""
    return Policy(config.policies, tuple(config.servers))


def find_audit_log(config: Config, environ: Mapping[str, str]) -> str | None:
    """Return the file that the user's own configuration names for the audit log, or None."""
    named = next((rules.audit_log for rules in config.policies if rules.audit_log), None)
    return home_dir(environ) + named[1:] if named and named.startswith("~/") else named
