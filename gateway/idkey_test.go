package gateway

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/schemas/frame"
)

var (
	idSecret    = strings.Repeat("i", minIDKeyBytes)
	newIDSecret = strings.Repeat("n", minIDKeyBytes)
)

// TestIDsOfKeysHaveASecret checks that who does not know the secret cannot compute a job's ID from its key, and that
// only jobs of secrets in the file are looked for.
func TestIDsOfKeysHaveASecret(t *testing.T) {
	ids := func(lines ...string) (string, []string) {
		var k idKeys
		if len(lines) > 0 {
			file := filepath.Join(t.TempDir(), "id.key")
			if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if k, err = openIDKeys(certs.Env{Log: slog.New(slog.DiscardHandler)}, file); err != nil {
				t.Fatal(err)
			}
		}
		return k.of("acme", "ann", "demo.echo", "k")
	}
	plain, plainFormer := ids()
	secret, secretFormer := ids(idSecret)
	if other, _ := ids(newIDSecret); other == secret || secret == plain {
		t.Errorf("%s, %s and %s", plain, secret, other)
	}
	if u, err := uuid.Parse(secret); err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 {
		t.Errorf("%s: %v", secret, err)
	}
	if len(plainFormer) != 1 || len(secretFormer) != 0 {
		t.Errorf("without a secret %s, with one %s", plainFormer, secretFormer)
	}
	for _, c := range []struct {
		lines  []string
		id     string
		former []string
	}{
		{[]string{noIDKey}, plain, plainFormer},
		{[]string{noIDKey, idSecret}, plain, []string{plainFormer[0], secret}},
		{[]string{idSecret, noIDKey}, secret, []string{plain, plainFormer[0]}},
		{[]string{idSecret, idSecret}, secret, nil},
	} {
		if id, former := ids(c.lines...); id != c.id || !slices.Equal(former, c.former) {
			t.Errorf("%q: %s, %s; want %s, %s", c.lines, id, former, c.id, c.former)
		}
	}
	for content, want := range map[string]string{
		"": "no key", "\n": "no key", "short\n": "5 bytes", "none\nshort\n": "key 2", "None\n": "4 bytes",
		idSecret + "\n" + newIDSecret + "\nnone\n": "3 keys",
	} {
		if _, err := parseIDKeys([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

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
			if want := keyedID(secretOf(lines[0]), "acme", "ann", "demo.echo", key); ack.JobID != want || ack.Duplicate {
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
