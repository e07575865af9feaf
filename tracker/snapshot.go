package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/tracker/store"
)

// A snapshot is a copy of a tracker's store, for backups and for a new instance that need not restore
// from Kafka. A running tracker holds the store's lock, so it makes the copy itself: it is asked over a
// Unix socket in its data folder, which only its own user can open.

const (
	snapshotSocket  = "snapshot.sock"
	snapshotPath    = "/snapshot"
	snapshotTimeout = 10 * time.Minute
	maxSocketPath   = 100 // bytes; operating systems allow at least 104
)

// serveSnapshots serves the socket until ctx ends. It does nothing when the data folder is not on the
// operating system's file system.
func (t *Tracker) serveSnapshots(ctx context.Context, st *store.Store) {
	if t.cfg.FS != vfs.Default {
		return
	}
	path := filepath.Join(t.cfg.Data, snapshotSocket)
	if len(path) > maxSocketPath {
		t.env.Log.Warn("no snapshots while this tracker runs: the path of its data folder is too long for a socket",
			"path", path)
		return
	}
	_ = os.Remove(path) // left by a tracker that was killed: this one holds the store's lock
	l, err := t.env.Listen(ctx, "unix", path)
	if err != nil {
		t.env.Log.Warn("no snapshots while this tracker runs", "err", err)
		return
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.env.Log.Warn("no snapshots while this tracker runs", "err", err)
		_ = l.Close()
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+snapshotPath, func(w http.ResponseWriter, r *http.Request) {
		dir := r.URL.Query().Get("dir")
		if !filepath.IsAbs(dir) {
			http.Error(w, "dir must be an absolute path", http.StatusBadRequest)
			return
		}
		if err := snapshotTo(st, dir); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		t.env.Log.Info("snapshot made", "dir", dir)
	})
	if err := service.ServeHTTP(ctx, &http.Server{Handler: mux}, l); err != nil {
		t.env.Log.Warn("the server of snapshots has ended", "err", err)
	}
}

// snapshotTo creates the data folder dir with a copy of the store.
func snapshotTo(st *store.Store, dir string) error {
	if err := newFolder(dir); err != nil {
		return err
	}
	return st.Snapshot(filepath.Join(dir, storeFolder))
}

// newFolder creates a folder that must not exist, and its parents.
func newFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("the snapshot's folder must not exist: %w", err)
	}
	return nil
}

// Snapshot copies the store in a tracker's data folder to the new data folder dir, on which a tracker may
// start; dir must not exist. If the tracker is running, it is asked to make the copy; if not, Snapshot
// opens the store itself.
func Snapshot(ctx context.Context, data, dir string, env service.Env) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	asked, err := askForSnapshot(ctx, filepath.Join(data, snapshotSocket), dir)
	if asked {
		return err
	}
	from := filepath.Join(data, storeFolder)
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("no store: %w", err)
	}
	if err := newFolder(dir); err != nil {
		return err
	}
	return store.Copy(vfs.Default, from, filepath.Join(dir, storeFolder), env.Log)
}

// askForSnapshot asks the running tracker for a snapshot. asked is false when no tracker listens at the
// socket.
func askForSnapshot(ctx context.Context, socket, dir string) (asked bool, err error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		return false, nil
	}
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: "tracker", Path: snapshotPath, RawQuery: url.Values{"dir": {dir}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return true, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return true, errors.New(string(why))
	}
	return true, nil
}
