package kafka

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// local are the bounds of the default profile.
var local = Timeouts{}.Bounds()

const (
	ms  = time.Millisecond
	sec = time.Second
)

// byWidth are the profiles, from the tightest to the widest.
var byWidth = []string{ProfileLocal, ProfileRegional, ProfileObjectStore}

// TestLocalIsWhatItWas pins the default profile to the numbers that were constants before there were profiles.
func TestLocalIsWhatItWas(t *testing.T) {
	want := Bounds{
		Dial: sec, Request: 1500 * ms, Produce: sec, Delivery: 5 * sec, Session: 10 * sec,
		Heartbeat: 2 * sec, Ping: 2 * sec, Ask: 3 * sec, Steps: 10 * sec,
		Silence: 6 * sec, Owners: 10 * sec, Tracker: 12 * sec, Group: 15 * sec, Trouble: 15 * sec, Lost: 10 * sec,
		Transaction: 15 * sec, View: 30 * sec,
		Slack: 300 * ms, Slow: sec / 3,
	}
	if local != want {
		t.Errorf("the default bounds are\n%+v, want\n%+v", local, want)
	}
	if (Timeouts{Profile: ProfileLocal}).Bounds() != local {
		t.Error("no profile is not the profile local")
	}
}

// TestProfilesHold checks what must hold between the bounds of each profile.
func TestProfilesHold(t *testing.T) {
	if len(byWidth) != len(profiles) {
		t.Fatalf("%d profiles are checked of %d", len(byWidth), len(profiles))
	}
	var narrower *Bounds
	for _, name := range byWidth {
		timeouts := Timeouts{Profile: name}
		if err := timeouts.check(); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
		b := timeouts.Bounds()
		v := reflect.ValueOf(b)
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			d, ok := v.Field(i).Interface().(time.Duration)
			if !ok || d <= 0 {
				t.Errorf("%s: %s is %v", name, field, v.Field(i))
			}
			if narrower != nil && d <= reflect.ValueOf(*narrower).Field(i).Interface().(time.Duration) {
				t.Errorf("%s: %s is %s, no more than in the profile before it", name, field, d)
			}
		}
		narrower = &b
		for what, holds := range map[string]bool{
			"a hung broker leaves time for a second try":            2*(b.Produce+b.Request) <= b.Delivery,
			"a produce is shorter than a delivery":                  b.Produce < b.Delivery,
			"connecting leaves time for a produce":                  b.Dial+b.Produce < b.Delivery,
			"three heartbeats fit into a session":                   3*b.Heartbeat <= b.Session,
			"a heartbeat is answered within the session":            b.Heartbeat+b.Request < b.Session,
			"the last transaction of an owner ends in its session":  b.Ask < b.Session,
			"a ping has time to connect":                            b.Ping > b.Dial,
			"one failed ping is no silence":                         b.Silence > b.Ping+2*sec,
			"one failed question is no silence":                     b.Silence > b.Ask+sec,
			"one failed question does not make the owners unknown":  b.Owners > b.Ask+ownersInterval,
			"a dead tracker leaves the group before it counts":      b.Tracker > b.Session,
			"a group that waits for a dead member is not silent":    b.Group > b.Session,
			"a failed write is remembered until the next one fails": b.Trouble > b.Delivery,
			"lost writes are remembered until the next one fails":   b.Lost > b.Delivery,
			"two produces fit into two deliveries":                  b.Steps >= 2*b.Delivery,
			"a transaction has time for its produces":               b.Transaction > b.Delivery,
			"one failed transaction does not make the view stand":   b.View > b.Transaction,
			"a normal answer is not slow":                           b.Slow < b.Produce,
			"transactions are within brokers' limit":                b.Transaction < 15*time.Minute,
			"sessions are within brokers' limits":                   b.Session >= leastSession && b.Session <= mostSession,
		} {
			if !holds {
				t.Errorf("%s: it does not hold that %s: %+v", name, what, b)
			}
		}
	}
}

func TestSingleTimeoutsBesideAProfile(t *testing.T) {
	all := reflect.TypeFor[Timeouts]()
	for i := range all.NumField() {
		f := all.Field(i)
		if f.Type != reflect.TypeFor[time.Duration]() {
			continue
		}
		timeouts := Timeouts{Profile: ProfileRegional}
		reflect.ValueOf(&timeouts).Elem().Field(i).SetInt(int64(8 * sec))
		want := Timeouts{Profile: ProfileRegional}.Bounds()
		got := timeouts.Bounds()
		for _, g := range []string{"Dial", "Request", "Produce", "Delivery", "Session"} {
			d := reflect.ValueOf(got).FieldByName(g).Interface().(time.Duration)
			w := reflect.ValueOf(want).FieldByName(g).Interface().(time.Duration)
			if g == f.Name {
				w = 8 * sec
			}
			if d != w {
				t.Errorf("with %s set, %s is %s, want %s", f.Name, g, d, w)
			}
		}
	}
}

// TestBadTimeoutsAreRefused: one line says which setting is wrong and why.
func TestBadTimeoutsAreRefused(t *testing.T) {
	for want, timeouts := range map[string]Timeouts{
		`kafka-profile must be one of local, object-store, regional, not "slow"`:   {Profile: "slow"},
		"kafka-dial-timeout must be between 100ms and 1m0s, not 1ms":               {Dial: ms},
		"kafka-request-timeout must be between 100ms and 1m0s, not -1s":            {Request: -sec},
		"kafka-produce-timeout must be between 100ms and 1m0s, not 1h0m0s":         {Produce: time.Hour},
		"kafka-delivery-timeout must be between 1s and 2m0s, not 500ms":            {Delivery: 500 * ms},
		"kafka-session-timeout must be between 6s and 5m0s, not 1s":                {Session: sec},
		"kafka-delivery-timeout (5s) must be at least kafka-produce-timeout (4s) ": {Produce: 4 * sec},
		"kafka-delivery-timeout (3s) must be at least kafka-produce-timeout (2s) ": {
			Profile: ProfileRegional, Delivery: 3 * sec},
		"kafka-delivery-timeout (5s) must be at least kafka-dial-timeout (6s)": {Dial: 6 * sec},
		"kafka-session-timeout (10s) must be more than twice kafka-request-timeout (8s), or members are taken for dead " +
			"while they wait for an answer (kafka-profile=object-store)": {
			Profile: ProfileObjectStore, Session: 10 * sec, Request: 8 * sec},
	} {
		err := Config{Brokers: []string{"localhost:9092"}, Timeouts: timeouts}.Check()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want one line with %q", timeouts, err, want)
		}
	}
}

// TestDocumentedTimeouts compares the table in docs/deploy.md with the profiles.
func TestDocumentedTimeouts(t *testing.T) {
	page, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z][a-z]+) \| (.*?) \| (.*?) \| (.*?) \|`).FindAllStringSubmatch(
		string(page), -1) {
		documented[m[1]] = strings.Join(m[2:], " ")
	}
	all := reflect.TypeFor[Bounds]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		var want []string
		for _, profile := range byWidth {
			d := reflect.ValueOf(Timeouts{Profile: profile}.Bounds()).Field(i).Interface().(time.Duration)
			want = append(want, d.Round(ms).String())
		}
		if got := documented[name]; got != strings.Join(want, " ") {
			t.Errorf("docs/deploy.md says %q for %s; the row must be\n| %s | %s | …", got, name, name,
				strings.Join(want, " | "))
		}
	}
}

// TestHelpTellsTheProfiles: each timeout's help text names what it is in the profiles.
func TestHelpTellsTheProfiles(t *testing.T) {
	all := reflect.TypeFor[Timeouts]()
	for i := range all.NumField() {
		f := all.Field(i)
		if f.Type != reflect.TypeFor[time.Duration]() {
			continue
		}
		var by []any
		for _, profile := range byWidth {
			by = append(by, reflect.ValueOf(profiles[profile]).Field(i).Interface())
		}
		if want := fmt.Sprintf("that of kafka-profile: %s, %s or %s.", by...); !strings.HasSuffix(f.Tag.Get("help"), want) {
			t.Errorf("%s: the help text does not end with %q", f.Name, want)
		}
	}
}

// TestAPaceThatIsTooSlow: only answers that are all slow count, and it is said once a minute.
func TestAPaceThatIsTooSlow(t *testing.T) {
	now := time.Now()
	p := newPace(Timeouts{}, slog.New(slog.DiscardHandler))
	answer := func(took time.Duration, times int) (said int) {
		for range times {
			now = now.Add(took)
			if p.answered(took, now) {
				said++
			}
		}
		return said
	}
	if said := answer(local.Slow, 100); said != 0 || p.err() != nil {
		t.Errorf("answers within the bound: said %d times: %v", said, p.err())
	}
	for range 20 {
		if said := answer(900*ms, paceAnswers-1) + answer(10*ms, 1); said != 0 || p.err() != nil {
			t.Fatalf("some answers are quick: said %d times: %v", said, p.err())
		}
	}
	if said := answer(400*ms, 100); said != 1 {
		t.Errorf("answers that are all slow: said %d times within 40 s", said)
	}
	err := fmt.Sprint(p.err())
	for _, want := range []string{"400ms and more", "kafka-profile=local", "set kafka-profile=object-store"} {
		if !strings.Contains(err, want) {
			t.Errorf("it says %q, without %q", err, want)
		}
	}
	if said := answer(800*ms, 100); said != 1 || !strings.Contains(p.err().Error(), "800ms and more") {
		t.Errorf("80 s later: said %d times: %v", said, p.err())
	}
	if answer(ms, 1); p.err() != nil {
		t.Errorf("after a quick answer: %v", p.err())
	}
	for _, own := range []Timeouts{{Produce: 600 * ms}, {Profile: ProfileObjectStore}} {
		p = newPace(own, slog.New(slog.DiscardHandler))
		if answer(2*sec, paceAnswers); !strings.Contains(fmt.Sprint(p.err()), "raise kafka-produce-timeout") {
			t.Errorf("%+v: where no profile helps: %v", own, p.err())
		}
	}
}
