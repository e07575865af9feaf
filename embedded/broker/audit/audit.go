// Package audit checks and repairs the files of the embedded broker before the broker opens them. The broker
// itself would cut a partition at its first damaged batch, or start empty when its list of topics is missing,
// without an error. This package finds the damage, keeps all sound records, and reports lost ones, so that a
// log that has lost records is not used unnoticed.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Loss is a range of records that a partition has lost: the offsets From to To-1. To is 0 when it is not known
// how many there were.
type Loss struct {
	Topic     string
	Partition int32
	From, To  int64
	// Covered says why the loss has no consequence; empty when it has one.
	Covered string
}

func (l Loss) String() string {
	what := fmt.Sprintf("%s, partition %d: records from offset %d to %d are lost", l.Topic, l.Partition, l.From, l.To-1)
	if l.To == 0 {
		what = fmt.Sprintf("%s, partition %d: records from offset %d on are damaged", l.Topic, l.Partition, l.From)
	}
	if l.Covered != "" {
		what += " (" + l.Covered + ")"
	}
	return what
}

// Report is the result of Read.
type Report struct {
	// Mends are repairs by which nothing is lost; Losses are records that are lost.
	Mends  []string
	Losses []Loss
	// Fatal are damages that cannot be repaired: a backup must be restored.
	Fatal []string

	dir    string
	writes []change // in order
}

// change is a file to write, or to remove when content is nil.
type change struct {
	name    string // below dir
	content []byte
}

// Undecided returns the losses that have consequences, which an operator must accept.
func (r *Report) Undecided() []Loss {
	return slices.DeleteFunc(slices.Clone(r.Losses), func(l Loss) bool { return l.Covered != "" })
}

// Clean reports whether there is nothing to repair.
func (r *Report) Clean() bool { return len(r.writes) == 0 && len(r.Fatal) == 0 && len(r.Losses) == 0 }

func (r *Report) mend(format string, args ...any) {
	r.Mends = append(r.Mends, fmt.Sprintf(format, args...))
}

func (r *Report) fatal(format string, args ...any) {
	r.Fatal = append(r.Fatal, fmt.Sprintf(format, args...))
}

func (r *Report) write(name string, content []byte) {
	r.writes = append(r.writes, change{name, content})
}

// Cover tells which lost records are not needed. Both fields may be nil.
type Cover struct {
	// Folded returns the offset up to which the tracker's store has the content of the partition's
	// records; 0 for none. The topic's ID has the form of topics.json.
	Folded func(topic Topic, clusterID string, partition int32) int64
	// Dispensable returns why the topic's records are not needed; empty when they are.
	Dispensable func(topic string) string
}

func (c Cover) folded(t Topic, clusterID string, p int32) int64 {
	if c.Folded == nil {
		return 0
	}
	return c.Folded(t, clusterID, p)
}

// of returns why the loss has no consequence; empty when it has one.
func (c Cover) of(l Loss, folded int64) string {
	if l.To > 0 && l.To <= folded {
		return "the tracker's store has their content"
	}
	if c.Dispensable != nil {
		return c.Dispensable(l.Topic)
	}
	return ""
}

// Read checks the broker's folder and returns what is damaged. It changes nothing; Mend does.
func Read(dir string, cover Cover) (*Report, error) {
	r := &Report{dir: dir}
	parts, err := folders(filepath.Join(dir, "partitions"))
	if err != nil {
		return nil, err
	}
	catalog, err := readCatalog(dir)
	switch {
	case errors.Is(err, errDamaged):
		r.mend("%s: %v; it is written again", CatalogName, err)
	case err != nil:
		return nil, err
	}
	if catalog == nil && len(parts) == 0 {
		return r, nil // a new folder, or one whose topics have no records
	}
	clusterID := r.cluster(catalog)
	topics := r.topics(catalog)
	if len(r.Fatal) > 0 {
		return r, nil
	}
	for _, t := range topics {
		for p := range t.Partitions {
			name := Folder(t.Name, p)
			delete(parts, name)
			folded := cover.folded(t, clusterID, p)
			losses, err := r.partition(name, catalog, folded)
			if err != nil {
				return nil, err
			}
			for _, l := range losses {
				l.Topic, l.Partition = t.Name, p
				l.Covered = cover.of(l, folded)
				r.Losses = append(r.Losses, l)
			}
		}
	}
	if catalog == nil {
		for name := range parts {
			r.fatal("partitions/%s belongs to no topic of topics.json", name)
		}
	}
	for _, name := range []string{"groups.log", "pids.log"} {
		if err := r.stateLog(name); err != nil {
			return nil, err
		}
	}
	return r, r.documents()
}

func folders(dir string) (map[string]bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	all := map[string]bool{}
	for _, e := range entries {
		if e.IsDir() {
			all[e.Name()] = true
		}
	}
	return all, nil
}

// cluster checks meta.json and cluster-id, and returns the cluster's ID. Without meta.json the broker would begin
// a new log in the same folder.
func (r *Report) cluster(catalog *Catalog) string {
	var meta struct {
		Version   int    `json:"version"`
		ClusterID string `json:"cluster_id"`
	}
	raw, err := os.ReadFile(filepath.Join(r.dir, "meta.json"))
	if err == nil {
		err = json.Unmarshal(raw, &meta)
	}
	own, _ := os.ReadFile(filepath.Join(r.dir, "cluster-id"))
	want := strings.TrimSpace(string(own))
	if catalog != nil {
		want = catalog.ClusterID
		if strings.TrimSpace(string(own)) != want {
			r.mend("cluster-id is missing or damaged: it is written again")
			r.write("cluster-id", []byte(want+"\n"))
		}
	}
	switch {
	case err == nil && meta.Version == 1 && (meta.ClusterID == want || want == ""):
		return meta.ClusterID
	case want == "":
		r.fatal("meta.json: %v; and the cluster's ID is nowhere else", err)
		return ""
	}
	r.mend("meta.json is missing or damaged: it is written again")
	meta.Version, meta.ClusterID = 1, want
	content, _ := plainjson.Marshal(meta)
	r.write("meta.json", content)
	return want
}

// topics returns all topics: those of the catalog, and newer ones that only topics.json has. It repairs
// topics.json if that lacks one or has another version of it.
func (r *Report) topics(catalog *Catalog) []Topic {
	found, err := ReadTopics(r.dir)
	if catalog == nil {
		if err != nil {
			r.fatal("topics.json: %v; there are partitions, and nothing tells to which topics they belong", err)
		}
		return found
	}
	same := err == nil
	var topics []Topic
	known := map[string]bool{}
	for _, t := range catalog.Topics {
		known[t.ID], known[t.Name] = true, true
		if !slices.ContainsFunc(found, func(f Topic) bool { return string(f.Raw) == string(t.Raw) }) {
			same = false
		}
		topics = append(topics, t)
	}
	for _, f := range found {
		switch {
		case !known[f.ID] && !known[f.Name]:
			topics = append(topics, f)
		case !slices.ContainsFunc(catalog.Topics, func(t Topic) bool { return string(f.Raw) == string(t.Raw) }):
			same = false
		}
	}
	if !same {
		r.mend("topics.json is missing or damaged: it is written again")
		content, _ := plainjson.Marshal(topicsFile{1, topics})
		r.write("topics.json", content)
	}
	return topics
}

// segment is a file of a partition.
type segment struct {
	name    string
	base    int64
	raw     []byte
	batches []batch
	dirty   bool // its file must be rewritten
	damaged bool // bytes after its last sound batch are damaged
}

// partition checks the files of one partition and returns what is lost. It finds the sound batches of all
// segments, chains them by their offsets, and notes a loss for each gap. The log must reach to the end that the
// catalog has, and to folded, up to which the tracker's store has read it: the catalog may be a second old.
func (r *Report) partition(name string, catalog *Catalog, folded int64) ([]Loss, error) {
	dir := filepath.Join("partitions", name)
	segments, err := r.segments(dir)
	if err != nil {
		return nil, err
	}
	var mark Mark
	retaining := false
	if catalog != nil {
		mark, retaining = catalog.Marks[name], catalog.Retaining
	}
	mark.End = max(mark.End, folded)
	if len(segments) == 0 && mark.End == mark.Start {
		return nil, nil
	}
	c := chain{end: mark.Start}
	if len(segments) > 0 && (retaining || segments[0].base < mark.Start || catalog == nil) {
		c.end = segments[0].base
	}
	for i := range segments {
		r.scan(dir, &segments[i], i == len(segments)-1)
		c.add(&segments[i])
	}
	if c.end < mark.End {
		c.lose(mark.End)
	}
	if c.damaged {
		c.losses = append(c.losses, Loss{From: c.end})
	}
	r.rewrite(dir, c.segments)
	return c.losses, r.snapshot(dir, c, mark)
}

// scan sets the segment's sound batches and reports its damage.
func (r *Report) scan(dir string, s *segment, last bool) {
	batches, skipped, torn := scan(s.raw, s.base)
	var wrong int
	s.batches, wrong = place(batches, s.base)
	s.dirty = skipped > 0 || wrong > 0 || len(s.batches) != len(batches)
	torn = torn && last
	if wrong > 0 {
		r.mend("%s/%s: %d batches had a damaged header: mended", dir, s.name, wrong)
	}
	switch {
	case skipped == 0:
	case torn:
		r.mend("%s/%s: an unfinished write of %d bytes at its end is cut off", dir, s.name, skipped)
	default:
		r.mend("%s/%s: %d damaged bytes are taken out", dir, s.name, skipped)
	}
	s.damaged = skipped > 0 && !torn && (len(s.batches) != len(batches) || trailing(s.raw, batches))
}

// chain is a partition's batches one after the other, with fillers in place of lost ones.
type chain struct {
	segments []segment
	end      int64
	epoch    uint32
	losses   []Loss
	damaged  bool // bytes after end are damaged, and it is not known how many records they were
}

// add appends a segment to the chain.
func (c *chain) add(s *segment) {
	batches := s.batches
	s.batches = nil
	if s.base > c.end {
		c.lose(s.base)
	}
	c.segments = append(c.segments, *s)
	at := &c.segments[len(c.segments)-1]
	for _, b := range batches {
		switch {
		case b.first < c.end: // the chain has these offsets already
			at.dirty = true
			continue
		case b.first > c.end:
			c.lose(b.first)
		}
		at.batches = append(at.batches, b)
		c.end, c.epoch, c.damaged = b.next(), epochOf(b), false
	}
	c.damaged = c.damaged || s.damaged
}

// lose notes the loss of all offsets up to, not including, to, and fills them.
func (c *chain) lose(to int64) {
	c.losses = append(c.losses, Loss{From: c.end, To: to})
	if len(c.segments) == 0 {
		c.segments = append(c.segments, segment{name: fmt.Sprintf("%d.dat", c.end), base: c.end})
	}
	last := &c.segments[len(c.segments)-1]
	last.dirty = true
	for c.end < to {
		next := min(to, c.end+maxFill)
		last.batches = append(last.batches, filler(c.end, next, c.epoch))
		c.end = next
	}
	c.damaged = false
}

// maxFill is the largest number of offsets of one filler.
const maxFill = 1 << 30

// trailing reports whether there are damaged bytes after the last sound batch.
func trailing(raw []byte, batches []batch) bool {
	var sound int64
	for _, b := range batches {
		sound += b.gap + int64(len(b.raw))
	}
	return sound < int64(len(raw))
}

// segments reads the segment files of a partition, ordered by their first offset.
func (r *Report) segments(dir string) (segments []segment, err error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, dir))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	for _, e := range entries {
		base, isSegment := strings.CutSuffix(e.Name(), ".dat")
		n, err := strconv.ParseInt(base, 10, 64)
		if !isSegment || err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(r.dir, dir, e.Name()))
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment{name: e.Name(), base: n, raw: raw})
	}
	slices.SortFunc(segments, func(a, b segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return segments, nil
}

// rewrite notes the changes to segment files and indexes that are not as they should be.
func (r *Report) rewrite(dir string, segments []segment) {
	for _, s := range segments {
		idx := strings.TrimSuffix(s.name, ".dat") + ".idx"
		if s.dirty {
			content := []byte{}
			for _, b := range s.batches {
				content = append(content, b.raw...)
			}
			r.write(filepath.Join(dir, s.name), content)
		}
		raw, _ := os.ReadFile(filepath.Join(r.dir, dir, idx))
		if s.dirty || !sameIndex(raw, s.batches) {
			r.write(filepath.Join(dir, idx), index(s.batches))
		}
	}
}

// snapshot removes the broker's summary of a partition if it does not match the segments. The broker then makes
// a new one from the segments.
func (r *Report) snapshot(dir string, c chain, mark Mark) error {
	name := filepath.Join(dir, "snapshot.json")
	raw, err := os.ReadFile(filepath.Join(r.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var snap snapshot
	err = json.Unmarshal(raw, &snap)
	begins := len(c.segments) > 0 && snap.Start == c.segments[0].base || snap.Start == mark.Start
	if err != nil || len(c.losses) > 0 || snap.Version != 1 || snap.End != c.end || snap.Stable != c.end || !begins {
		r.write(name, nil)
	}
	return nil
}

// stateLog removes damaged entries from a state log. The broker would drop all entries after the first damaged one.
func (r *Report) stateLog(name string) error {
	raw, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if sound, skipped := Entries(raw); skipped > 0 {
		r.mend("%s: %d damaged bytes are taken out", name, skipped)
		r.write(name, sound)
	}
	return nil
}

// documents removes damaged files that the broker does not need, and with which it would not start.
func (r *Report) documents() error {
	for _, name := range []string{"acls.json", "sasl.json", "broker_configs.json", "quotas.json", "seq_windows.json",
		"session_state.json"} {
		raw, err := os.ReadFile(filepath.Join(r.dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case !json.Valid(raw):
			r.mend("%s is damaged: the broker goes on without it", name)
			r.write(name, nil)
		}
	}
	return nil
}

// Mend makes the repairs that Read has noted. Files that it replaces or removes are kept in a folder beside the
// broker's, whose name it returns; the name is empty when there was nothing to repair.
func (r *Report) Mend() (aside string, err error) {
	if len(r.writes) == 0 {
		return "", nil
	}
	aside = fmt.Sprintf("%s-damaged-%s", r.dir, time.Now().UTC().Format("20060102T150405.000"))
	for _, w := range r.writes {
		name := filepath.Join(r.dir, w.name)
		if old, err := os.ReadFile(name); err == nil {
			kept := filepath.Join(aside, w.name)
			if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
				return "", err
			}
			if err := os.WriteFile(kept, old, 0o600); err != nil {
				return "", fmt.Errorf("keep the damaged file: %w", err)
			}
		}
		if w.content == nil {
			if err := os.Remove(name); err != nil {
				return "", err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return "", err
		}
		if err := replace(name, w.content); err != nil {
			return "", err
		}
	}
	return aside, nil
}
