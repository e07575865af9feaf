package docs

import (
	"regexp"
	"testing"
)

// section is a command's part of docs/configure.md.
var section = regexp.MustCompile(`(?ms)^## ([a-z ]+)\n(.*?)(?:^## |\z)`)

// settings are those of each command that runs a service.
func settings(page string) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for rest := page; ; {
		m := section.FindStringSubmatchIndex(rest)
		if m == nil {
			return all
		}
		command, names := rest[m[2]:m[3]], map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(rest[m[4]:m[5]], -1) {
			names[row[1]] = true
		}
		all[command], rest = names, rest[m[5]:]
	}
}

// withoutServe are settings that make no sense where all services run in one process.
var withoutServe = map[string]string{
	"config":   "it belongs to the command, not to one of its services",
	"version":  "as config",
	"lanes":    "those of all types that have a handler",
	"demo":     "always, but with --no-processor",
	"webhooks": "as demo",
}

// TestServeHasEverySetting: the command that runs all services takes every setting that they take.
func TestServeHasEverySetting(t *testing.T) {
	all := settings(theTree(t).pages["docs/configure.md"])
	if len(all["ackwire"]) == 0 {
		t.Fatal("docs/configure.md does not tell the settings of ackwire")
	}
	for _, service := range []string{"gateway", "tracker", "processor"} {
		if len(all[service]) < 10 {
			t.Errorf("docs/configure.md tells %d settings of the %s", len(all[service]), service)
		}
		for name := range all[service] {
			if !all["ackwire"][name] && withoutServe[name] == "" {
				t.Errorf("ackwire serve lacks the %s's setting %s", service, name)
			}
		}
	}
}
