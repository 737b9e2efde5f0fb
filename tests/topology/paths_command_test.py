"""paths_command_test.py ACCL_TOPO: the contract of `accl-topo paths` as far as one host shows it:
exit codes, sentences, and its own loopback as a network without routers. Prints TAP."""

import json
import socket
import sys

from bench import run_checks

HERE, THERE = "127.0.0.1", "127.0.0.2"
FIRST_PORT = 49152


def found(bench, *arguments):
    done = bench.run("paths", "--from", HERE, "--to", THERE, "--json", *arguments)
    assert done.returncode == 0, done
    return json.loads(done.stdout), done.stderr


def where_no_router_is_there_is_one_class_and_a_sentence(bench):
    answer, said = found(bench, "--labels", 8)
    assert answer["version"] == 1 and len(answer["pairs"]) == 1, answer
    pair = answer["pairs"][0]
    assert (pair["from"], pair["to"]) == (HERE, THERE), pair
    assert len(pair["classes"]) == 1 and pair["classes"][0]["hops"] == [], pair
    labels = pair["classes"][0]["labels"]
    assert len(set(labels)) == 8 and 1 <= min(labels) and max(labels) <= 16383, labels
    assert "layer 2" in said and said.count("\n") == 1, said


def people_get_a_table(bench):
    done = bench.run("paths", "--from", HERE, "--to", THERE, "--labels", 8)
    assert done.returncode == 0 and done.stdout.startswith(f"{HERE} to {THERE}: 1 class, 8"), done


def a_port_in_use_is_passed_over(bench):
    usual = found(bench, "--labels", 8)[0]["pairs"][0]["classes"][0]["labels"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HERE, FIRST_PORT + usual[0]))
        labels = found(bench, "--labels", 8)[0]["pairs"][0]["classes"][0]["labels"]
    assert usual[0] not in labels and len(labels) == 8, (usual, labels)


def it_can_be_written_to_a_file(bench):
    path = bench.folder / "paths.json"
    done = bench.run("paths", "--from", HERE, "--to", THERE, "--labels", 2, "--json", "-o", path)
    assert done.returncode == 0 and not done.stdout, done
    assert json.loads(path.read_text())["version"] == 1


def bad_usage_is_one_sentence_and_exit_2(bench):
    for start, ends, says in (("here", THERE, "--from here"), (HERE, "there", "--to there"),
                              (HERE, f"{THERE},{THERE}", "comes twice"),
                              (HERE, HERE, "where probes start"),
                              (HERE, "fd00::1", "give both of one kind"),
                              ("::1", THERE, "give both of one kind"),
                              ("::1", "fe80::1", "known on its own link only"),
                              ("2001:db8::77", "2001:db8::78", "no address of this host"),
                              ("192.0.2.77", THERE, "no address of this host")):
        path = bench.folder / "none.json"
        done = bench.run("paths", "--from", start, "--to", ends, "-o", path)
        assert done.returncode == 2 and not done.stdout and not path.exists(), done
        assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("accl-topo: "), done.stderr
    for words in (("--labels", "0"), ("--labels", "99999"), ("--seconds", "soon")):
        assert bench.run("paths", "--from", HERE, "--to", THERE, *words).returncode == 2, words
    assert bench.run("paths", "--from", HERE).returncode == 2


if __name__ == "__main__":
    run_checks((where_no_router_is_there_is_one_class_and_a_sentence, people_get_a_table,
                a_port_in_use_is_passed_over, it_can_be_written_to_a_file,
                bad_usage_is_one_sentence_and_exit_2), sys.argv[1])
