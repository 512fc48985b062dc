#!/usr/bin/python3
"""Turns the package index that apt keeps on a Debian machine into JSON Lines, one object per package.

    apt-cache dumpavail | ./apt-index.py > packages.jsonl
    ./apt-index.py > packages.jsonl                          # runs apt-cache itself
    ./apt-index.py --sample 200 > sample.jsonl               # every n-th package, about 200 of them

Fields: package, version, architecture, section, priority, size and installed_size (bytes), description,
maintainer (the name alone), source, depends, recommends, suggests, provides, tags. What a package does not have is left
out. A package that the index lists in several versions comes out with the last one.
"""

import argparse
import json
import re
import subprocess
import sys

TEXT_FIELDS = {
    "Package": "package",
    "Version": "version",
    "Source": "source",
    "Architecture": "architecture",
    "Section": "section",
    "Priority": "priority",
    "Description": "description",
    "Description-en": "description",
}
LIST_FIELDS = {
    "Pre-Depends": "depends",
    "Depends": "depends",
    "Recommends": "recommends",
    "Suggests": "suggests",
    "Provides": "provides",
    "Tag": "tags",
}


def stanzas(lines):
    """The fields of one package after the other; a continued line begins with a space (Debian Policy, chapter 5)."""
    fields, name = {}, None
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields, name = {}, None
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line.strip()
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    if fields:
        yield fields


def record(fields):
    """The JSON object of a package."""
    result = {}
    for name, key in TEXT_FIELDS.items():
        if fields.get(name):
            result[key] = fields[name]
    if "Maintainer" in fields:
        result["maintainer"] = re.sub(r"\s*<[^>]*>", "", fields["Maintainer"])
    if fields.get("Size", "").isdigit():
        result["size"] = int(fields["Size"])
    if fields.get("Installed-Size", "").isdigit():
        result["installed_size"] = int(fields["Installed-Size"]) * 1024
    for name, key in LIST_FIELDS.items():
        items = [" ".join(item.split()) for item in fields.get(name, "").split(",")]
        items = [item for item in items if item]
        if items:
            result.setdefault(key, []).extend(items)
    return result


def main():
    parser = argparse.ArgumentParser(description="Turns apt's package index into JSON Lines.")
    parser.add_argument("--sample", type=int, metavar="N", help="only about N packages, spread over the index")
    arguments = parser.parse_args()
    apt = None
    if sys.stdin.isatty():
        apt = subprocess.Popen(["apt-cache", "dumpavail"], stdout=subprocess.PIPE, encoding="utf-8", errors="replace")
        lines = apt.stdout
    else:
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        lines = sys.stdin
    packages = {}
    for fields in stanzas(lines):
        if fields.get("Package"):
            packages[fields["Package"]] = record(fields)
    if apt and apt.wait() != 0:
        sys.exit("apt-index.py: apt-cache dumpavail failed")
    if not packages:
        sys.exit("apt-index.py: no packages; is the index there? 'apt-get update' fetches it")
    names = sorted(packages)
    step = max(1, len(names) // arguments.sample) if arguments.sample else 1
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        for name in names[::step][: arguments.sample]:
            print(json.dumps(packages[name], ensure_ascii=False, separators=(",", ":")))
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
