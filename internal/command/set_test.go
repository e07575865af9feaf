package command

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// limits is a configuration with a field of each kind that settings have.
type limits struct {
	Name   string            `default:"front"`
	Slots  int               `default:"64"`
	Grace  time.Duration     `default:"5s"`
	Hosts  []string          `default:"a,b"`
	Ports  []uint16          `default:"443"`
	Run    map[string]string `mapsep:"none"`
	Quiet  bool
	Colour string `enum:"red,blue" default:"red"`
	Logging
}

func TestSet(t *testing.T) {
	cfg := Defaults[limits]()
	err := Set(&cfg, []string{
		"slots=3", "slots=4", "hosts=c", "hosts=d,e", "run=x=wc -c, really", "run=y=a=b", "quiet=true", "name=",
		"colour=blue", "log-level=debug",
	})
	want := limits{
		Slots: 4, Grace: 5 * time.Second, Hosts: []string{"c", "d", "e"}, Ports: []uint16{443},
		Run: map[string]string{"x": "wc -c, really", "y": "a=b"}, Quiet: true, Colour: "blue",
		Logging: Logging{LogLevel: -4, LogFormat: "text"},
	}
	if err != nil || !reflect.DeepEqual(cfg, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, cfg, want)
	}
}

func TestSetTellsAllProblems(t *testing.T) {
	cfg := Defaults[limits]()
	err := Set(&cfg, []string{
		"slot=3", "slots=many", "grace=5", "ports=443,70000", "quiet", "quiet=perhaps", "colour=green", "help=true",
		"=1", "run=x",
	})
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{
		`unknown setting "slot"`, `setting slots: `, `setting grace: `, `setting ports: `, `setting "quiet" has no value`,
		`setting quiet: `, `setting colour: must be one of red,blue, not "green"`, `unknown setting "help"`, `unknown setting ""`,
		`setting run: `,
	}
	if len(got) != len(want) {
		t.Fatalf("%d problems, not %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	t.Log(err)
}
