package tracker

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// stallFS is a disk whose flushes do not return while it stalls.
type stallFS struct {
	vfs.FS

	mu      sync.Mutex    // guards stalled
	stalled chan struct{} // not nil while it stalls
}

func (s *stallFS) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = make(chan struct{})
}

func (s *stallFS) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.stalled)
	s.stalled = nil
}

func (s *stallFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return &stallFile{f, s}, err
}

type stallFile struct {
	vfs.File
	fs *stallFS
}

func (f *stallFile) Sync() error {
	f.fs.mu.Lock()
	stalled := f.fs.stalled
	f.fs.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	return f.File.Sync()
}

// TestAStalledDiskIsNotReady: a tracker whose disk stalls is not ready, even if it has nothing to write,
// and is ready again when the disk works.
func TestAStalledDiskIsNotReady(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		disk := &stallFS{FS: vfs.NewMem()}
		i := w.start(8090, disk)
		defer i.stop()
		time.Sleep(time.Minute)
		if err := i.tracker.Ready(); err != nil {
			t.Fatalf("at rest: %v", err)
		}
		disk.stall()
		began := time.Now()
		var err error
		for ; err == nil && time.Since(began) < 10*time.Second; time.Sleep(100 * time.Millisecond) {
			err = i.tracker.Ready()
		}
		if err == nil || !strings.Contains(err.Error(), "disk of data has not answered") {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		disk.goOn()
		i.wantReady()
	})
}
