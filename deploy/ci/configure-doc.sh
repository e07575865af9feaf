#!/usr/bin/env bash
# Prints docs/configure.md: the settings of each command, as the command itself prints them.
set -euo pipefail
cd "$(dirname "$0")/../.."
cat <<'TEXT'
# Settings

<!-- Made by `make generate` from the configuration structs: change those. -->

Each setting is a flag (`--listen`), an environment variable (`ACKWIRE_LISTEN`) and a key of the YAML file that `--config` names
(`listen: 0.0.0.0:8080`). A flag wins over the environment, which wins over the file. A key that the
command does not have is refused, with exit code 2, even if another command has it. Logs, errors and `/debug` do not show passwords in URLs.
Several values are separated by commas. Durations are written as `1.5s`, `10m`, `2h`.

Job types have a file of their own: [schemas/jobtypes/default.yaml](../schemas/jobtypes/default.yaml) is the commented default.

TEXT
for command in gateway tracker processor; do
	go run "./$command/cmd/$command" --reference
done
go run ./embedded/cmd/ackwire --reference
