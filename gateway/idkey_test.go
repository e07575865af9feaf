package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Contents of --id-key-file.
var (
	idSecret    = strings.Repeat("i", 32)
	newIDSecret = strings.Repeat("n", 32)
)

// noIDKey is the line that stands for IDs without a secret.
const noIDKey = "none"

// TestTheIDsSecretChanges introduces a secret, and changes it, in the documented steps: at each of them, and for a
// gateway that is a step behind, a key finds the job that it has made.
func TestTheIDsSecretChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "id.key")
	write := func(lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(noIDKey)
	inWorld(t, func(c *Config) {
		tokensOnly(c)
		c.IDKeyFile = file
	}, func(t *testing.T, w *world) {
		submit := func(key string) frame.AckFrame {
			h := w.header("acme", "ann")
			h.Set("Content-Type", "application/json")
			a := w.http("POST", "/v1/jobs", h, strings.NewReader(`{"job":"demo.echo","payload":1,"key":"`+key+`"}`))
			var ack frame.AckFrame
			if err := json.Unmarshal([]byte(a.body), &ack); err != nil || ack.JobID == "" {
				t.Fatalf("%s: %d %s", key, a.status, a.body)
			}
			return ack
		}
		made := map[string]string{}
		again := func(step string) {
			for key, id := range made {
				if ack := submit(key); ack.JobID != id || !ack.Duplicate {
					t.Errorf("%s: key %q made %s, and is now %+v", step, key, id, ack)
				}
			}
		}
		steps := [][]string{
			{noIDKey}, {noIDKey, idSecret}, {idSecret, noIDKey}, {idSecret},
			{idSecret, newIDSecret}, {newIDSecret, idSecret}, {newIDSecret},
		}
		for i, lines := range steps {
			write(lines...)
			time.Sleep(2 * time.Second) // until the gateway has read it
			if len(lines) == 1 {        // the jobs of the former secret have ended, and their retention is over
				for key := range made {
					if !strings.HasPrefix(key, lines[0]) {
						delete(made, key)
					}
				}
			}
			again(strings.Join(lines, " "))
			key := lines[0] + string(rune('a'+i))
			ack := submit(key)
			if want := intake.KeyedID(secretOf(lines[0]), "acme", "ann", "demo.echo", key); ack.JobID != want || ack.Duplicate {
				t.Errorf("%q: %+v, want %s", lines, ack, want)
			}
			made[key] = ack.JobID
			if i > 0 && len(lines) > 1 { // a gateway that is a step behind
				write(steps[i-1]...)
				time.Sleep(2 * time.Second)
				if len(steps[i-1]) > 1 {
					again("a step behind")
				}
			}
		}
	})
}

func secretOf(line string) []byte {
	if line == noIDKey {
		return nil
	}
	return []byte(line)
}
