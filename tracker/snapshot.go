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

// A snapshot is a copy of a tracker's store, for backups and for a new instance that is to
// begin warm. A tracker that runs makes it itself: it is asked over a socket in its data
// folder, by those who may write there.

const (
	snapshotSocket  = "snapshot.sock"
	snapshotPath    = "/snapshot"
	snapshotTimeout = 10 * time.Minute
	maxSocketPath   = 100 // bytes; systems allow 104 and more
)

// serveSnapshots serves the socket until ctx ends. Without a folder on the operating
// system's disk there is none.
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
	_ = os.Remove(path) // of a tracker that was killed: the store's lock is ours
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
		t.env.Log.Warn("snapshots", "err", err)
	}
}

// snapshotTo makes a data folder whose store is a copy.
func snapshotTo(st *store.Store, dir string) error {
	if err := newFolder(dir); err != nil {
		return err
	}
	return st.Snapshot(filepath.Join(dir, storeFolder))
}

func newFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("the snapshot's folder must not exist: %w", err)
	}
	return nil
}

// Snapshot copies the store of the tracker with the given data folder to dir, which must not
// exist: a data folder that a tracker may start on. It asks the tracker if that is
// running, else it opens the store itself.
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

// askForSnapshot reports whether a tracker was there to be asked.
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
