"""Build what is to be compared, time it in turn, measure its memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from senet.benchmarking.engines import DEFAULT, ENGINES, check_engines, recalibrated
from senet.benchmarking.memory import Memory, memory_of
from senet.benchmarking.peers import PEERS, operations_note
from senet.benchmarking.result import Comparison, clock_of
from senet.benchmarking.settings import Settings
from senet.benchmarking.workload import PLAIN_FORM, Workload
from senet.errors import UsageError, reason_of
from senet.measuring.steps import TrainingStep
from senet.measuring.timing import Timing, interleave
from senet.ops.backend import fastest

Status = Callable[[str], object]


@dataclass(frozen=True)
class Candidates:
    """Functions ready to be timed against each other.

    Args:
        functions: name -> function; the first is what the others are compared with.
        pairs: engine -> names of its recalibrated and its plain function.
        notes: what a reader of the figures must know.
    """

    functions: Mapping[str, Callable[[], object]]
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def engine_candidates(work: Workload, engines: Sequence[str] = (), status: Status = lambda step: None) -> Candidates:
    """Build every form of a network on every engine.

    Args:
        work: the network, its twin and the images.
        engines: names of `ENGINES`; none = those of the mode.
        status: told what is being done.

    Raises:
        UsageError: if an engine cannot run here, or lacks the network: nothing has been built then; or if it fails.
    """
    engines = tuple(engines) or DEFAULT[work.settings.mode]
    check_engines(engines, work.settings)
    for name in engines:
        for form in work.forms:
            ENGINES[name].check(work, form)
    steps: dict[str, dict[str, Callable[[], object]]] = {}
    for name in engines:
        steps[name] = {}
        for form in work.forms:
            status(f"building {form} {name}")
            try:
                steps[name][form] = ENGINES[name].build(work, form)
                steps[name][form]()  # what is compiled is compiled at the first call
            except UsageError:
                raise
            except Exception as error:  # the engine's own, of any kind: an operator, a type or a size that it does not have
                said = reason_of(error, 200)
                raise UsageError(f"the engine {name!r} cannot run {form} {work.about}: {type(error).__name__}: {said}") from error
    return paired_candidates(steps, recalibrated(work), _notes(work, engines))


def paired_candidates(steps: Mapping[str, Mapping[str, Callable[[], object]]], kind: str, notes: tuple[str, ...] = ()) -> Candidates:
    """Name the functions by form and engine, such as "se fused", and pair them.

    Args:
        steps: engine -> form -> function.
        kind: the form that is compared with the plain one.
        notes: what a reader of the figures must know.
    """
    functions = {f"{form} {engine}": step for engine, forms in steps.items() for form, step in forms.items()}
    return Candidates(functions, {engine: (f"{kind} {engine}", f"{PLAIN_FORM} {engine}") for engine in steps}, notes)


def measure(candidates: Candidates, about: str, settings: Settings, *, status: Status = lambda step: None) -> Comparison:
    """Time functions in turn, and measure the memory of those that are training steps.

    Args:
        candidates: the functions.
        about: what they do.
        settings: how many rounds, for how long, on which device.
        status: told what is being done.

    Raises:
        KeyboardInterrupt: after Ctrl-C in the first round; later, what whole rounds there are is returned.
    """
    so_far: dict[str, Timing] = {}
    memory: dict[str, Memory] = {}
    interrupted = False

    def note(timings: Mapping[str, Timing]) -> None:
        so_far.update(timings)
        done = next(iter(timings.values())).rounds
        status(f"{about}: {done} of {settings.rounds} rounds, at most {settings.max_seconds:.0f} s")

    status(f"{about}: warming up")
    try:
        interleave(candidates.functions, rounds=settings.rounds, max_seconds=settings.max_seconds, after_round=note)
        for name, step in candidates.functions.items():
            if isinstance(step, TrainingStep):
                status(f"{about}: memory of {name}")
                memory[name] = memory_of(step)
    except KeyboardInterrupt:
        if not so_far:
            raise
        interrupted = True
    return Comparison(
        about=about,
        timings=so_far,
        pairs=candidates.pairs,
        memory=memory,
        clock=clock_of(settings.device),
        notes=candidates.notes,
        interrupted=interrupted,
    )


def measure_network(work: Workload, engines: Sequence[str] = (), status: Status = lambda step: None) -> Comparison:
    """Compare the forms of a network on several engines; see `engine_candidates` and `measure`."""
    return measure(engine_candidates(work, engines, status), work.about, work.settings, status=status)


def _notes(work: Workload, engines: Sequence[str]) -> tuple[str, ...]:
    notes = [operations_note(PEERS[name], work) for name in engines if name in PEERS]
    if "fused" in engines:
        found = fastest(work.images.device.type)
        notes.append(f"fused: {found.name}, {found.reason}; small maps take the definition")
    return tuple(note for note in notes if note)
