package vendors

import (
	"os"
	"strings"
	"testing"
)

// The table in docs/kafka.md has each vendor with exactly the flags with which the system is tested.
func TestTheTableOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/kafka.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells
		}
	}
	for _, v := range All() {
		row := rows[v.Name]
		if row == nil {
			t.Errorf("%s is not in the table", v.Name)
			continue
		}
		var want string
		for _, f := range v.Flags {
			want += " `" + f + "`"
		}
		if len(v.Flags) == 0 {
			want = " none"
		}
		if len(v.Tracker) > 0 {
			want += "; trackers `" + strings.Join(v.Tracker, "` `") + "`"
		}
		if got := strings.TrimSuffix(strings.TrimSpace(row[3]), " |"); got != strings.TrimSpace(want) {
			t.Errorf("%s has the flags %s, and is tested with %s", v.Name, got, want)
		}
		if works := row[1] == "works"; works != (v.Refused == "") {
			t.Errorf("%s: %q, but its start is refused with %q", v.Name, row[1], v.Refused)
		}
	}
}
