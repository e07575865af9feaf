package keyfile

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAKeyIsTheSameHoweverItsLineEnds(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for _, file := range []string{key, key + "\n", key + "\r\n", key + "\n\n", "\n" + key + "\n", "  " + key + "\t\n"} {
		if keys, err := Parse([]byte(file), 1); err != nil || len(keys) != 1 || string(keys[0]) != key {
			t.Errorf("%q: %q, %v", file, keys, err)
		}
	}
	if keys, err := Parse([]byte("pass phrase für alle\n"), 1); err != nil || string(keys[0]) != "pass phrase für alle" {
		t.Errorf("%q, %v", keys, err)
	}
}

func TestBytesAreTheKeyAsTheyAre(t *testing.T) {
	for _, file := range [][]byte{
		append(bytes.Repeat([]byte{0}, 31), '\n'),
		append(bytes.Repeat([]byte{0xff}, 31), ' '),
		[]byte("\n\x01a\nb\n"),
	} {
		if keys, err := Parse(file, 1); err != nil || len(keys) != 1 || !bytes.Equal(keys[0], file) {
			t.Errorf("%q: %q, %v", file, keys, err)
		}
	}
	for range 1000 {
		file := make([]byte, 32)
		_, _ = rand.Read(file)
		if keys, err := Parse(file, 1); err != nil || len(keys) != 1 || !bytes.Equal(keys[0], file) {
			t.Fatalf("%q: %q, %v", file, keys, err)
		}
	}
}

func TestLinesAreKeys(t *testing.T) {
	keys, err := Parse([]byte("new\nold\r\n"), 2)
	if err != nil || string(bytes.Join(keys, []byte("|"))) != "new|old" {
		t.Errorf("%q, %v", keys, err)
	}
	const pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name, 2); err == nil || !strings.Contains(err.Error(), name) ||
		strings.Contains(err.Error(), "AAAA") {
		t.Errorf("a file in PEM: %v", err)
	}
	if keys, err := Parse(nil, 1); err != nil || len(keys) != 0 {
		t.Errorf("an empty file: %q, %v", keys, err)
	}
	if keys, err := Parse([]byte("\n \n"), 1); err != nil || len(keys) != 0 {
		t.Errorf("empty lines: %q, %v", keys, err)
	}
}
