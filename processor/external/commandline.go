package external

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-shellwords"
)

// Words splits a command line into the command and its arguments as a shell does: at blanks that are neither quoted nor
// escaped. Since the command is run without a shell, Words refuses syntax that only a shell could interpret (a pipe, a
// redirection, a list, a variable, a command substitution), unless it is quoted and so meant literally.
func Words(line string) ([]string, error) {
	if what := shellOnly(line); what != "" {
		return nil, fmt.Errorf("%s needs a shell, and the command is run without one: quote it, or run sh -c '…'", what)
	}
	p := shellwords.NewParser()
	argv, err := p.Parse(line)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the command %.80q cannot be split into words: %w", line, err)
	case p.Position >= 0: // it stopped without an error
		return nil, fmt.Errorf("the command could be read only up to character %d", p.Position)
	case len(argv) == 0 || argv[0] == "":
		return nil, errors.New("no command")
	}
	return argv, nil
}

// shellOnly returns the first piece of a command that only a shell could interpret, or "".
func shellOnly(line string) string {
	var single, double bool
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case single:
			single = c != '\''
		case c == '\\':
			i++
		case c == '\'' && !double:
			single = true
		case c == '"':
			double = !double
		case c == '`':
			return "`"
		case c == '$' && i+1 < len(line) && variable(line[i+1]):
			return line[i : i+2]
		case !double && strings.IndexByte("|&;<>()", c) >= 0:
			return string(c)
		}
	}
	return ""
}

// variable reports whether a dollar sign before c would start an expansion.
func variable(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_{(@*#?$!-", c) >= 0
}
