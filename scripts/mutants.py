"""Small mistakes in important code, each of which a test must notice.

`make mutants` makes one after the other in a copy of the tree and runs the tests that are to fail.
It takes about a quarter of an hour. A mistake that no test notices is told, and the exit code is 1.

usage: mutants.py [NAME ...]
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPIED = ("trainer", "tests", "configs", "docs", "scripts", "pyproject.toml", "setup.py")
PASSED, FAILED = 0, 1  # exit codes of pytest; others say that it could not run the tests


class Mutant(NamedTuple):
    """One edit, and the tests that fail with it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: the text to change does not stand there exactly once.
        """
        if (count := source.count(self.old)) != 1:
            raise ValueError(
                f"{self.name}: {self.file} has {count} times: {self.old!r}. Expected it once:"
                " change the entry in scripts/mutants.py as the code was changed."
            )
        return source.replace(self.old, self.new)


MUTANTS = (
    Mutant(
        "warm-up begins a step late",
        "trainer/run/schedule.py",
        "warmup = (step + 1) / max(",
        "warmup = step / max(",
        ("tests/run/test_optimization.py::test_the_rate_rises_to_its_peak_then_follows_its_shape",),
    ),
    Mutant(
        "clips by the norm of the sum",
        "trainer/run/optimization.py",
        "tf.maximum(norm, clip_norm)",
        "tf.maximum(tf.linalg.global_norm(gradients), clip_norm)",
        (
            "tests/run/test_optimization.py::"
            "test_the_norm_is_that_before_clipping_without_the_loss_scale",
        ),
    ),
    Mutant(
        "losses are divided by what one replica has",
        "trainer/run/steps.py",
        "gradients_of(columns, seed, replica, weights)",
        "gradients_of(columns, seed, replica, step_gradients.weights(columns))",
        ("tests/test_invariance.py::test_replicas_micro_batches_and_short_batches_change_nothing",),
    ),
    Mutant(
        "dropout is the same at each step",
        "trainer/run/steps.py",
        "tf.cast(local(optimizer.step).read_value(), tf.int32)",
        "tf.constant(0)",
        ("tests/test_invariance.py::test_each_step_of_a_run_draws_its_own_masks",),
    ),
    Mutant(
        "every epoch has the same order",
        "trainer/data/batching.py",
        "SeedSequence([seed, epoch])",
        "SeedSequence([seed])",
        ("tests/data/test_batching.py::test_each_epoch_is_a_permutation_and_they_differ",),
    ),
    Mutant(
        "two packed examples share a sequence id",
        "trainer/data/pipeline.py",
        "= 1 + places_within(counts)",
        "= 1 + 0 * places_within(counts)",
        ("tests/data/test_pipeline.py::test_each_example_stands_whole_where_its_slot_says",),
    ),
    Mutant(
        "the ledger counts within the encoding batch",
        "trainer/data/preparation.py",
        "split.origin(first + number)",
        "split.origin(number)",
        (
            "tests/data/test_prepare.py::"
            "test_what_was_lost_is_placed_beyond_the_first_encoded_batch_too",
        ),
    ),
    Mutant(
        "the whole example decides what is held out",
        "trainer/data/preparation.py",
        "if self.head.grouping != slice(None):",
        "if not self.head.grouping:",
        ("tests/heads/test_question_answering.py::test_the_questions_of_a_context_stay_together",),
    ),
    Mutant(
        "pruning forgets the best checkpoint",
        "trainer/run/checkpoints.py",
        "{*earlier[-self.keep :], state.best_step}",
        "{*earlier[-self.keep :]}",
        ("tests/run/test_checkpoints.py::test_the_newest_stay_and_the_best",),
    ),
    Mutant(
        "the kernel's epsilon is that of the raw moment",
        "trainer/run/update_rules.py",
        "epsilon = settings.epsilon * root",
        "epsilon = settings.epsilon",
        ("tests/run/test_optimization.py::test_adam_is_the_published_rule",),
    ),
    Mutant(
        "the moving average is the last weights",
        "trainer/run/optimization.py",
        "change = (1 - decay) * (moved - old_average)",
        "change = moved - old_average",
        (
            "tests/run/test_optimization.py::"
            "test_the_moving_average_follows_the_weights_and_changes_places_with_them",
        ),
    ),
    Mutant(
        "min_delta has the other sign",
        "trainer/run/evaluation.py",
        "value > best + min_delta",
        "value > best - min_delta",
        ("tests/test_task.py::test_what_counts_as_better",),
    ),
    Mutant(
        "every window answers for every token",
        "trainer/text/windows.py",
        "tf.cast(from_start & before_limit, tf.int32)",
        "tf.ones_like(places.values, tf.int32)",
        ("tests/text/test_windows.py::test_values_are_taken_row_by_row",),
    ),
    Mutant(
        "a span that begins with I- is none",
        "trainer/heads/token_classification/rule.py",
        "opens = (span_type >= 0) & (begins | ~follows)",
        "opens = (span_type >= 0) & begins",
        ("tests/heads/test_tags.py::test_the_rule_reads_any_tags_as_they_are_read_one_by_one",),
    ),
    Mutant(
        "a word that shares its token begins a span of its own",
        "trainer/heads/token_classification/rule.py",
        "begins &= ~words.shares",
        "begins &= words.shares | True",
        ("tests/heads/test_tags.py::test_a_span_begins_where_its_type_does_whatever_its_tag",),
    ),
    Mutant(
        "the CRF lets a text begin with I-",
        "trainer/heads/token_classification/crf.py",
        "inside, FORBIDDEN, 0",
        "inside & False, FORBIDDEN, 0",
        ("tests/heads/test_tags.py::test_the_best_tags_never_break_the_scheme",),
    ),
    Mutant(
        "no answer is the largest over the windows",
        "trainer/heads/question_answering/answers.py",
        'tf.math.unsorted_segment_min(results["none"], example, texts)',
        'tf.math.unsorted_segment_max(results["none"], example, texts)',
        (
            "tests/heads/test_question_answering.py::test_the_answers_are_the_best_of_all_windows",
            "tests/heads/test_question_answering.py::"
            "test_figures_over_windows_and_the_threshold_that_suits_them_best",
        ),
    ),
    Mutant(
        "the threshold lets through what it should refuse",
        "trainer/heads/question_answering/answers.py",
        "tf.ones_like(better[:, :1]) * -self.threshold",
        "tf.ones_like(better[:, :1]) * self.threshold",
        ("tests/heads/test_question_answering.py::test_the_answers_are_the_best_of_all_windows",),
    ),
    Mutant(
        "the windows of a block are those of the first questions",
        "trainer/heads/question_answering/evaluated.py",
        "stored_columns(store, windows, questions.start)",
        "stored_columns(store, windows)",
        (
            "tests/heads/test_question_answering.py::"
            "test_the_answers_that_are_judged_are_those_that_are_served",
        ),
    ),
    Mutant(
        "the export's proof takes NaN",
        "trainer/serve/proof.py",
        "if not difference <= tolerance:",
        "if difference > tolerance:",
        (
            "tests/serve/test_export.py::"
            "test_answers_are_compared_number_by_number_and_label_by_label",
        ),
    ),
    Mutant(
        "top_p keeps a token too few",
        "trainer/heads/_generation/samplers.py",
        "kept = tf.where(before < self.top_p, ordered,",
        "kept = tf.where((before + shares < self.top_p) | (shares == shares[:, :1]), ordered,",
        ("tests/heads/test_generation.py::test_sampling_draws_what_the_model_says",),
    ),
    Mutant(
        "class weights are ignored",
        "trainer/heads/_classes/single_label.py",
        "return weight * tf.gather(tf.constant(self.class_weights), label)",
        "return weight",
        (
            "tests/heads/test_classification.py::"
            "test_the_loss_is_a_weighted_sum_and_the_sum_of_the_weights",
        ),
    ),
    Mutant(
        "a checkpoint's state is published before its files",
        "trainer/run/checkpoints.py",
        "files = self._write_weights(path, values)\n            self._make_visible(",
        "self._make_visible(state, {}, before_visible)\n"
        "            files = self._write_weights(path, values)\n            self._make_visible(",
        (
            "tests/run/test_checkpoints.py::"
            "test_the_state_is_written_last_when_all_else_is_on_the_disk",
        ),
    ),
    Mutant(
        "a file that grew is intact",
        "trainer/files/checksums.py",
        "!= expected.bytes:\n"
        '            raise DamagedError(path, f"{size:,} bytes instead of {expected.bytes:,}")\n'
        "        if fingerprint(path) != expected:",
        "< expected.bytes:\n"
        '            raise DamagedError(path, f"{size:,} bytes instead of {expected.bytes:,}")\n'
        "        if fingerprint(path, first=expected.bytes) != expected:",
        ("tests/files/test_checksums.py::test_a_file_is_compared_with_what_it_was",),
    ),
    Mutant(
        "nothing is left of train where the fractions sum to 1",
        "trainer/settings/contradictions.py",
        "if held_out >= 1:",
        "if held_out > 1:",
        ("tests/settings/test_resolve.py::test_fractions_held_out_leave_something_of_train",),
    ),
    Mutant(
        "attention costs nothing",
        "trainer/run/throughput.py",
        "attention = 4 * squares * width",
        "attention = 0 * squares * width",
        ("tests/run/test_throughput.py::test_flops_are_counted_as_the_graph_computes_them",),
    ),
    Mutant(
        "a beam's length counts a token too many",
        "trainer/heads/_generation/beams.py",
        "length = tf.cast(state.step + 1, tf.float32)",
        "length = tf.cast(state.step + 2, tf.float32)",
        ("tests/heads/test_generation.py::test_tokens_are_hugging_faces",),
    ),
    Mutant(
        "of two merges of equal rank the right one is first",
        "trainer/text/byte_merges.py",
        "opens_pair = every_other((symbols.ranks == least) & is_active)",
        "opens_pair = every_other(((symbols.ranks == least) & is_active)[::-1])[::-1]",
        ("tests/text/test_byte_bpe.py::test_any_text_equals_hugging_face",),
    ),
    Mutant(
        "a regression's loss is divided by the labels' deviation",
        "trainer/heads/_classes/regression.py",
        "return tf.square(self.decide(logits) - label)",
        "return tf.square(self.decide(logits) - label) / tf.math.reduce_std(label)",
        ("tests/heads/test_classification.py::test_regression_loss_is_the_squared_error",),
    ),
    Mutant(
        "a download's checksum does not count the second time",
        "trainer/files/gcs/downloads.py",
        "if found == item.crc32c:",
        "if found == item.crc32c or _attempt:",
        ("tests/files/test_gcs.py::test_a_wrong_checksum_is_refused_and_nothing_is_kept",),
    ),
    Mutant(
        "a label needs more than the threshold",
        "trainer/heads/_classes/multi_label.py",
        "tf.sigmoid(logits) >= self.threshold",
        "tf.sigmoid(logits) > self.threshold",
        (
            "tests/heads/test_classification.py::test_a_label_at_the_threshold_is_given",
            "tests/heads/test_classification.py::"
            "test_metrics_of_several_labels_are_those_of_scikit_learn",
        ),
    ),
    Mutant(
        "the scorer decides otherwise than the server",
        "trainer/heads/_classes/decision.py",
        "decision.decide(tf.constant(block, tf.float32))",
        "decision.decide(-tf.constant(block, tf.float32))",
        (
            "tests/heads/test_classification.py::"
            "test_metrics_of_several_labels_are_those_of_scikit_learn",
        ),
    ),
    Mutant(
        "a model card tells the paths of a machine",
        "trainer/files/paths.py",
        "return os.path.join(CUT, os.path.basename(whole))",
        "return whole",
        ("tests/serve/test_model_card.py::test_no_path_of_this_machine_is_told",),
    ),
    Mutant(
        "labels in a model card may end their code span",
        "trainer/serve/markdown.py",
        'around = "`" * (longest + 1)',
        'around = "`"',
        ("tests/serve/test_model_card.py::test_labels_from_outside_stay_text",),
    ),
)


def copy_tree(folder: pathlib.Path) -> None:
    """Copies what the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)


def run_tests(tests: Iterable[str], folder: pathlib.Path) -> int:
    """Runs tests of a copy of the tree until one fails; returns pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (PASSED, FAILED):
        print(done.stdout[-2000:] + done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"pytest ended with {done.returncode}: {' '.join(command)}")
    return done.returncode


def lives(mutant: Mutant, folder: pathlib.Path) -> bool:
    """Whether no test fails with the mistake, which is taken back afterwards."""
    file = folder / mutant.file
    source = file.read_text(encoding="utf-8")
    file.write_text(mutant.applied(source), encoding="utf-8")
    try:
        return run_tests(mutant.tests, folder) == PASSED
    finally:
        file.write_text(source, encoding="utf-8")


def main(names: list[str]) -> int:
    """Tries the mutants of these names, by default all; returns how the process ends."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in chosen}:
        raise SystemExit(f"No such mutant: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        copy_tree(folder)
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if run_tests(tests, folder) == FAILED:
            raise SystemExit("The tests fail without any mistake: run them first.")
        living = []
        for mutant in chosen:
            if lives(mutant, folder):
                living.append(mutant)
            print(f"{'LIVES ' if mutant in living else 'killed'} {mutant.name}", flush=True)
    print(f"{len(chosen) - len(living)} of {len(chosen)} were noticed by a test.")
    return 1 if living else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
