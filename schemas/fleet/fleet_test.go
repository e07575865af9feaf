package fleet

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

func sample() Announcement {
	at := time.Date(2026, 2, 2, 9, 30, 0, 0, time.UTC)
	return Announcement{Worker: "reports-1", Lanes: []Lane{{Lane: "default", Slots: 64}, {Lane: "webhooks", Slots: 64}},
		Running: 3, Version: "1.2.3", StartedAt: at,
		Paused: []Paused{{Tenant: "acme", Endpoint: "https://hooks.example/jobs", Until: at, Failures: 7}}}
}

func TestAnAnnouncementIsReadAsItWasWritten(t *testing.T) {
	want := sample()
	value, err := Encode(&want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode([]byte(strings.Replace(string(value), `"v":1`, `"v":1,"later":true`, 1)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// Each case changes one thing of an announcement that is right.
func TestAnnouncementsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Announcement){
		"no name":              func(a *Announcement) { a.Worker = "" },
		"a long name":          func(a *Announcement) { a.Worker = strings.Repeat("w", job.MaxNameChars+1) },
		"no UTF-8":             func(a *Announcement) { a.Worker = "\xff" },
		"a lane that is none":  func(a *Announcement) { a.Lanes[0].Lane = "A b" },
		"a lane twice":         func(a *Announcement) { a.Lanes[1].Lane = "default" },
		"negative slots":       func(a *Announcement) { a.Lanes[0].Slots = -1 },
		"many slots":           func(a *Announcement) { a.Lanes[0].Slots = maxSlots + 1 },
		"negative running":     func(a *Announcement) { a.Running = -1 },
		"a long version":       func(a *Announcement) { a.Version = strings.Repeat("1", maxVersionBytes+1) },
		"a time out of bounds": func(a *Announcement) { a.StartedAt = time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a query":              func(a *Announcement) { a.Paused[0].Endpoint += "?token=1" },
		"no scheme":            func(a *Announcement) { a.Paused[0].Endpoint = "javascript:alert(1)" },
		"a long endpoint":      func(a *Announcement) { a.Paused[0].Endpoint += strings.Repeat("x", MaxEndpointBytes) },
		"a long tenant":        func(a *Announcement) { a.Paused[0].Tenant = strings.Repeat("t", maxTenantBytes+1) },
		"many lanes": func(a *Announcement) {
			for i := range MaxLanes {
				a.Lanes = append(a.Lanes, Lane{Lane: fmt.Sprint("l", i)})
			}
		},
	} {
		a := sample()
		change(&a)
		if _, err := Encode(&a); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	for name, value := range map[string]string{
		"no JSON": `{`, "another version": `{"v":2}`, "a name twice": `{"v":1,"worker":"a","worker":"b"}`, "an array": `[]`,
		"large": `{"v":1,"worker":"w","x":"` + strings.Repeat("x", MaxBytes) + `"}`,
	} {
		if a, err := Decode([]byte(value)); err == nil {
			t.Errorf("%s: read as %+v", name, a)
		}
	}
}

// TestPausedEndpointsAreBounded: an announcement is written whatever is paused, and says that there is more.
func TestPausedEndpointsAreBounded(t *testing.T) {
	a := sample()
	for i := range 1000 {
		a.Paused = append(a.Paused, Paused{Tenant: strings.Repeat("<", 256), Endpoint: Endpoint("https://h.example",
			fmt.Sprint("/", i, strings.Repeat("/x", 500))), Until: a.StartedAt, Failures: 5})
	}
	value, err := Encode(&a)
	if err != nil || len(value) > MaxBytes {
		t.Fatalf("%d bytes, %v", len(value), err)
	}
	got, err := Decode(value)
	if err != nil || len(got.Paused) == 0 || len(got.Paused) > MaxPaused || !got.PausedMore {
		t.Errorf("%d endpoints, more %t, %v", len(got.Paused), got.PausedMore, err)
	}
}

func TestEndpointsHaveNoSecrets(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"https://u:p@h.example:8443", "/a?token=1#x"}: "https://h.example:8443/a",
		{"http://h.example", ""}:                       "http://h.example",
		{"://", "/a"}:                                  "",
	} {
		if got := Endpoint(in[0], in[1]); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
