package model

import (
	"maps"
	"os"
	"reflect"
	"testing"

	"github.com/ackwire/ackwire/tracker/fold"
)

// small are the models that `make test` explores to their end.
var small = map[string]Config{
	"one worker, one fault":       {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 1},
	"an explicit retry, a cancel": {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Retries: 1, Cancels: 1},
	"a cancel, expiry": {
		Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Expiries: 1, Cancels: 1,
	},
	"an erasure, a retry, one key twice": {
		Payloads: []string{"p", "p"}, Trackers: 1, Attempts: 1, Cancels: 1, Retries: 1, Erasures: 1,
	},
	"an erasure, a worker, expiry": {
		Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Cancels: 1, Erasures: 1, Expiries: 1,
	},
	"two lives, cancels": {Payloads: []string{"p", "p"}, Trackers: 1, Attempts: 1, Expiries: 1, Cancels: 2},
}

// large are those that `make model` explores, beside the small ones.
var large = map[string]Config{
	"two workers, two attempts, one fault": {Payloads: []string{"p"}, Workers: 2, Trackers: 1, Attempts: 2, Faults: 1},
	"another payload, scheduled": {
		Payloads: []string{"p", "q"}, Scheduled: []bool{true}, Workers: 1, Trackers: 1, Attempts: 1,
	},
	"the same, no lives": {
		Payloads: []string{"p", "q"}, Scheduled: []bool{true}, NoLives: true, Workers: 1, Trackers: 1, Attempts: 1,
	},
	"one key twice, expiry":         {Payloads: []string{"p", "p"}, Workers: 1, Trackers: 1, Attempts: 1, Expiries: 1},
	"a zombie tracker, one fault":   {Payloads: []string{"p"}, Workers: 1, Trackers: 2, Attempts: 2, Faults: 1},
	"checkpoints behind, one fault": {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 1, Lag: true},
	"a release, two workers": {
		Payloads: []string{"p"}, Workers: 2, Trackers: 1, Attempts: 1, Releases: 1, Faults: 1,
	},
}

func TestNothingBreaks(t *testing.T) {
	models := maps.Clone(small)
	if os.Getenv("ACKWIRE_MODEL") == "large" {
		maps.Copy(models, large)
	}
	for name, c := range models {
		t.Run(name, func(t *testing.T) {
			c.MaxLog, c.MaxStates = 2, 12_000_000
			r := Explore(c)
			t.Log(r)
			if r.Broken != "" || !r.Complete {
				t.Fail()
			}
		})
	}
}

// breaks is for each rule a model in which its absence shows.
var breaks = map[Rule]Config{
	RequestFirst: {Payloads: []string{"p", "p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 1},
	Verdict:      {Payloads: []string{"p", "q"}, Workers: 1, Trackers: 1, Attempts: 1},
	Born:         {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1},
	OwnRequest:   {Payloads: []string{"p", "q"}, Workers: 1, Trackers: 1, Attempts: 1},
	SameRun:      {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 1},
	NamedRenewal: {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 2, Faults: 1},
	ReleaseBumps: {Payloads: []string{"p"}, Workers: 2, Trackers: 1, Attempts: 1, Releases: 1, Faults: 1},
	NamedRound:   {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Retries: 1, Cancels: 1},
	RetryBumps:   {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Retries: 1, Cancels: 1, Faults: 1},
	Scheduled: {
		Payloads: []string{"p", "q"}, Scheduled: []bool{true}, NoLives: true, Workers: 1, Trackers: 1, Attempts: 1,
	},
	NamedLife:    {Payloads: []string{"p", "p"}, Workers: 0, Trackers: 1, Attempts: 1, Expiries: 1, Cancels: 2},
	YoungRequest: {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Expiries: 1, Cancels: 1},
	FactAfter:    {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 2, Faults: 1},
	AskAgain:     {Payloads: []string{"p"}, Workers: 2, Trackers: 1, Attempts: 1, Faults: 1},
	ClaimBeat:    {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 1},
	SameClaim:    {Payloads: []string{"p"}, Workers: 1, Trackers: 1, Attempts: 1, Faults: 2},
}

func TestEachRuleIsNeeded(t *testing.T) {
	for _, rule := range Rules {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			c, ok := breaks[rule]
			if !ok {
				t.Fatal("no model shows what happens without it")
			}
			c.Without, c.MaxLog, c.MaxStates = rule, 2, 400_000
			r := Explore(c)
			t.Log(r)
			if r.Broken == "" {
				t.Error("nothing breaks without it")
			}
		})
	}
}

// A field that rules read and the key leaves out would merge states that differ.
func TestTheKeyCoversAJob(t *testing.T) {
	fields := func(of any, known ...string) {
		t.Helper()
		got := reflect.TypeOf(of)
		if got.NumField() != len(known) {
			t.Errorf("%s has %d fields, %d are known: see to it that encoder writes those that rules read", got, got.NumField(),
				len(known))
			return
		}
		for i, name := range known {
			if got.Field(i).Name != name {
				t.Errorf("%s has the field %s, not %s", got, got.Field(i).Name, name)
			}
		}
	}
	fields(fold.Job{}, "Doc", "Version", "Life", "Tenant", "PayloadHash", "Policy", "CallbackURL",
		"CallbackEvents",
		"CallbackState", "CallbackDue", "Deliveries", "Source", "Accepted", "ByWriter", "Dispatch", "Round", "RoundAt",
		"Request", "Run",
		"Worker", "Writer", // no rule reads this: keepers of streams do
		"Renewal", "RenewedAt", "Skew", "Ahead", "CancelAt", "Unserved", "ResultBlob")
}
