package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
)

// gauged is a disk whose free space the test decides.
type gauged struct {
	vfs.FS
	free *atomic.Uint64
}

func (g gauged) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: g.free.Load()}, nil
}

func TestAFullDisk(t *testing.T) {
	const minFree = 10 << 20
	fs := gauged{vfs.NewMem(), &atomic.Uint64{}}
	opts := Options{MinFree: minFree, MemTable: 1 << 20}
	fs.free.Store(minFree / 4)
	if _, err := Open(fs, dir, identity, opts, quiet); !errors.Is(err, ErrFull) {
		t.Fatalf("opened on a full disk: %v", err)
	}
	fs.free.Store(100 << 20)
	s, err := Open(fs, dir, identity, opts, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ballast := func() bool { _, err := fs.Stat(fs.PathJoin(dir, ballastName)); return err == nil }
	p, saved := s.Partition(0), savedIn{}
	saved.save(t, p, 1, aJob("a", job.Pending, 1))
	if !ballast() {
		t.Error("there is room, and no ballast")
	}
	fs.free.Store(minFree)
	if err := p.Checkpoint([]Change{{ID: "b", Job: aJob("b", job.Pending, 2)}}, 2, 0); !errors.Is(err, ErrFull) {
		t.Errorf("a checkpoint without room: %v", err)
	}
	if p.Position() != 1 || p.mayHave("b", Owners{}) || !ballast() {
		t.Errorf("position %d, ballast %v: nothing may be written", p.Position(), ballast())
	}
	fs.free.Store(minFree / 4)
	if err := s.Full(); !errors.Is(err, ErrFull) || ballast() {
		t.Errorf("%v, ballast %v: it must go", err, ballast())
	}
	fs.free.Store(minFree + 1<<20)
	saved.save(t, p, 3, aJob("c", job.Pending, 3))
	if ballast() {
		t.Error("the ballast took the room that there is")
	}
	fs.free.Store(100 << 20)
	saved.save(t, p, 4, aJob("d", job.Pending, 4))
	if !ballast() {
		t.Error("there is room again, and no ballast")
	}
	shut(t, s)
}

// TestASmallDiskFillsUp checks, on a real disk of 64 MB that other files fill up, that nothing hangs, nothing
// is written in part, and the store continues when there is room again.
func TestASmallDiskFillsUp(t *testing.T) {
	mount := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=64m",
		"tmpfs", mount).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	at, hog := filepath.Join(mount, "store"), filepath.Join(mount, "hog")
	opts := Options{MinFree: 16 << 20, MemTable: 1 << 20}
	s, err := Open(vfs.Default, at, identity, opts, quiet)
	if err != nil {
		t.Fatal(err)
	}
	p, saved := s.Partition(0), savedIn{}
	next := int64(0)
	// write makes checkpoints of 100 jobs until one is refused, or n are written.
	write := func(n int) (written int) {
		t.Helper()
		for written < n {
			changes := make([]Change, 100)
			for i := range changes {
				j := aJob("job-"+strings.Repeat("x", i%7)+string(rune('a'+i%26)), job.Processing, next+1)
				j.Doc.Error = &job.Error{Message: strings.Repeat("noise ", 200)}
				changes[i] = Change{ID: j.Doc.JobID, Job: j, Was: saved[j.Doc.JobID]}
			}
			changes = unique(changes)
			done := make(chan error, 1)
			go func() { done <- p.Checkpoint(changes, next+1, 0) }()
			select {
			case err := <-done:
				if errors.Is(err, ErrFull) {
					return written
				}
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("a checkpoint hangs")
			}
			for _, c := range changes {
				saved[c.ID] = c.Now
			}
			next++
			written++
		}
		return written
	}
	if n := write(20); n != 20 {
		t.Fatalf("%d checkpoints on an empty disk", n)
	}
	f, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			break // no space left
		}
		write(2)
	}
	_ = f.Close()
	if n := write(3); n != 0 {
		t.Errorf("%d checkpoints on a full disk", n)
	}
	position := p.Position()
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	if n := write(20); n != 20 {
		t.Errorf("%d checkpoints though there is room again", n)
	}
	if p.Position() != position+20 {
		t.Errorf("position %d after %d", p.Position(), position)
	}
	shut(t, s)
	if s, err = Open(vfs.Default, at, identity, opts, quiet); err != nil {
		t.Fatal(err)
	}
	if s.SetAside() != "" || s.Partition(0).Position() != next {
		t.Errorf("position %d, want %d; set aside: %s", s.Partition(0).Position(), next, s.SetAside())
	}
	shut(t, s)
}

// unique keeps the first change of each job.
func unique(changes []Change) (kept []Change) {
	seen := map[string]bool{}
	for _, c := range changes {
		if c.ID != "" && !seen[c.ID] {
			seen[c.ID] = true
			kept = append(kept, c)
		}
	}
	return kept
}
