package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/simnet"
)

// system is a whole Ackwire on a data folder, in a bubble.
type system struct {
	t    *testing.T
	net  *simnet.Network
	stop context.CancelFunc
	done chan error
	*System
}

// begin starts the system; it is nil, with the cause, when it does not start.
func begin(t *testing.T, cfg Settings) (*system, error) {
	t.Helper()
	s := &system{t: t, net: simnet.New(), done: make(chan error, 1)}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	started := make(chan *System, 1)
	go func() {
		s.done <- Run(ctx, cfg, environment(s.net.Host("ackwire")), func(e *System) { started <- e })
	}()
	select {
	case s.System = <-started:
		return s, nil
	case err := <-s.done:
		s.stop()
		return nil, err
	}
}

// ready waits a minute at most; it is why the system is still not ready.
func (s *system) ready() (err error) {
	for range 600 {
		if err = s.Ready(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func (s *system) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("end: %v", err)
	}
}

// submit returns the ID of a job that was acked.
func (s *system) submit(body string) string {
	s.t.Helper()
	transport := &http.Transport{DialContext: s.net.Host("user").Dial, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Post("http://localhost:8080/v1/jobs",
		"application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var ack struct{ JobID string }
	if err := json.NewDecoder(resp.Body).Decode(&ack); err != nil || resp.StatusCode != http.StatusAccepted {
		s.t.Fatalf("submit: %d %v", resp.StatusCode, err)
	}
	return ack.JobID
}

// get returns what the system answers about a job.
func (s *system) get(id string) (status int, body string) {
	s.t.Helper()
	return get(s.t, s.net, "http://localhost:8080/v1/jobs/"+id, "")
}

// filled makes a data folder with jobs of all kinds and returns what is known of each.
func filled(t *testing.T) (dir string, known map[string]string) {
	dir, known = t.TempDir(), map[string]string{}
	cfg := config(dir)
	cfg.Gateway.Partitions, cfg.NoProcessor, cfg.Worker.Slots = 2, false, 8
	for _, bodies := range [][]string{
		{`{"job":"demo.echo","payload":"done %d"}`, `{"job":"demo.fail","payload":{"message":"broken %d"}}`},
		{
			`{"job":"demo.echo","payload":"waits %d"}`,
			`{"job":"demo.echo","payload":"later %d","runAt":"2000-01-03T00:00:00Z"}`,
		},
	} {
		bubble.Test(t, func(t *testing.T) {
			if cfg.NoProcessor {
				time.Sleep(time.Minute) // each bubble's clock starts again
			}
			s, err := begin(t, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ready(); err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				for _, body := range bodies {
					known[s.submit(fmt.Sprintf(body, i))] = ""
				}
			}
			time.Sleep(10 * time.Second)
			for id := range known {
				status, body := s.get(id)
				if status != http.StatusOK {
					t.Fatalf("job %s: %d %s", id, status, body)
				}
				known[id] = body
			}
			s.end()
		})
		cfg.NoProcessor = true // what comes now waits
	}
	return dir, known
}

// damage does one random harm to one file of a folder, or to the folder of a partition, and says which.
func damage(t *testing.T, r *rand.Rand, dir string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	file := files[r.IntN(len(files))]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	what := ""
	switch kind := r.IntN(8); {
	case kind == 0 && strings.Contains(file, "partitions"):
		what, err = "removed with its folder", os.RemoveAll(filepath.Dir(file))
	case kind < 2 || len(b) == 0:
		what, err = "removed", os.Remove(file)
	case kind < 4:
		n := r.IntN(len(b))
		what, err = fmt.Sprintf("cut to %d of %d bytes", n, len(b)), os.WriteFile(file, b[:n], 0o600)
	default:
		at, bit := r.IntN(len(b)), byte(1)<<r.IntN(8)
		b[at] ^= bit
		what, err = fmt.Sprintf("byte %d of %d, bit %02x", at, len(b), bit), os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	name, _ := filepath.Rel(dir, file)
	return name + " " + what
}

// TestADamagedDataFolder: whatever harm is done to one file, either every acked job is answered as
// before, or the system says why it does not start or is not ready. It never says that an acked
// job does not exist.
func TestADamagedDataFolder(t *testing.T) {
	dir, known := filled(t)
	rounds, seed := 25, uint64(time.Now().UnixNano())
	if n, err := strconv.Atoi(os.Getenv("ACKWIRE_DAMAGES")); err == nil {
		rounds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("ACKWIRE_SEED"), 10, 64); err == nil {
		seed = n
	}
	r := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	for range rounds {
		broken := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		what := damage(t, r, broken)
		outcome := afterDamage(t, broken, what, known)
		outcomes[outcome]++
		t.Logf("%s: %s", what, outcome)
	}
	t.Logf("seed %d: %v", seed, outcomes)
}

// TestADamagedTableOfTheStore: wherever a bit of the tracker's store has changed, nobody is told of an internal error:
// the store is used unread at first, and the read that finds the damage is answered once the store is set aside.
func TestADamagedTableOfTheStore(t *testing.T) {
	dir, known := filled(t)
	tables, err := filepath.Glob(filepath.Join(dir, "tracker", "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("the store has no tables: %v", err)
	}
	const places = 40
	for _, table := range tables {
		name, err := filepath.Rel(dir, table)
		if err != nil {
			t.Fatal(err)
		}
		for i := range places {
			broken := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(broken, name))
			if err != nil {
				t.Fatal(err)
			}
			at := i * len(b) / places
			b[at] ^= 0x20
			if err := os.WriteFile(filepath.Join(broken, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%s byte %d of %d", name, at, len(b))
			if outcome := afterDamage(t, broken, what, known); outcome != "answered" {
				t.Errorf("%s: %s", what, outcome)
			}
		}
	}
}

// afterDamage starts the system on a damaged folder and returns what came of it.
func afterDamage(t *testing.T, dir, what string, known map[string]string) (outcome string) {
	t.Helper()
	cfg := config(dir)
	cfg.Gateway.Partitions = 2
	bubble.Test(t, func(t *testing.T) {
		time.Sleep(2 * time.Minute)
		s, err := begin(t, cfg)
		if err != nil {
			outcome = "refused"
			if errors.Is(err, broker.ErrLost) {
				outcome = "lost"
			}
			t.Logf("  %v", err)
			return
		}
		defer s.end()
		outcome = "answered"
		if err := s.ready(); err != nil {
			outcome = "not ready"
			t.Logf("  %v", err)
		}
		for id, want := range known {
			status, body := s.get(id)
			switch {
			case status == http.StatusOK && body == want:
			case status == http.StatusServiceUnavailable && outcome == "not ready":
			default:
				t.Errorf("%s: %s, and job %s is %d %s, was %s", what, outcome, id, status, body, want)
				return
			}
		}
	})
	return outcome
}
