package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/schemas/plainjson"
)

// CatalogName is the catalog's file in the broker's folder.
const CatalogName = "ackwire-catalog"

// Catalog says what the broker's folder must hold: written every second, it tells apart what was
// never written from what has gone.
type Catalog struct {
	ClusterID string `json:"clusterId"`
	// Topics are those of topics.json, as they were last seen.
	Topics []Topic `json:"topics"`
	// Marks are where partitions begin and end, by the names of their folders.
	Marks map[string]Mark `json:"marks"`
	// Retaining says that old segments are being removed.
	Retaining bool `json:"retaining,omitempty"`
}

// Mark is where a partition began and ended.
type Mark struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Topic is an entry of topics.json; Raw is all of it.
type Topic struct {
	Name       string
	ID         string
	Partitions int32
	Raw        json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Topic) UnmarshalJSON(b []byte) error {
	var known struct {
		Name       string          `json:"name"`
		ID         json.RawMessage `json:"id"`
		Partitions int32           `json:"partitions"`
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	*t = Topic{known.Name, string(known.ID), known.Partitions, append(json.RawMessage(nil), b...)}
	if t.Name == "" || len(t.ID) < 2 || t.Partitions < 1 {
		return errors.New("a topic without name, ID or partitions")
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (t Topic) MarshalJSON() ([]byte, error) { return t.Raw, nil }

// Write replaces the catalog of a broker's folder.
func (c Catalog) Write(dir string) error {
	body, err := plainjson.Marshal(c)
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, CatalogName), fmt.Appendf(nil, "%08x %s", crc32.Checksum(body, castagnoli), body))
}

// errDamaged is said of a file whose content is not what was written.
var errDamaged = errors.New("it is damaged")

// readCatalog returns nil when there is none.
func readCatalog(dir string) (*Catalog, error) {
	raw, err := os.ReadFile(filepath.Join(dir, CatalogName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	sum, body, _ := strings.Cut(string(raw), " ")
	want, err := strconv.ParseUint(sum, 16, 32)
	if err != nil || uint32(want) != crc32.Checksum([]byte(body), castagnoli) {
		return nil, errDamaged
	}
	var c Catalog
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &c, nil
}

// topicsFile is what topics.json holds.
type topicsFile struct {
	Version int     `json:"version"`
	Topics  []Topic `json:"topics"`
}

// ReadTopics reads topics.json of a broker's folder.
func ReadTopics(dir string) ([]Topic, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "topics.json"))
	if err != nil {
		return nil, err
	}
	var f topicsFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return f.Topics, nil
}

// Closed takes the marks from what the broker has written of its partitions at its end.
func (c Catalog) Closed(dir string) Catalog {
	marks := map[string]Mark{}
	for name, mark := range c.Marks {
		var snap snapshot
		raw, err := os.ReadFile(filepath.Join(dir, "partitions", name, "snapshot.json"))
		if err == nil && json.Unmarshal(raw, &snap) == nil && snap.End >= mark.End {
			mark = Mark{snap.Start, snap.End}
		}
		marks[name] = mark
	}
	c.Marks = marks
	return c
}

// snapshot is what the broker writes of a partition when it ends.
type snapshot struct {
	Version int   `json:"version"`
	End     int64 `json:"high_watermark"`
	Stable  int64 `json:"last_stable_offset"`
	Start   int64 `json:"log_start_offset"`
}

// Folder is the name of a partition's folder, and of its mark.
func Folder(topic string, p int32) string { return fmt.Sprintf("%s-%d", url.PathEscape(topic), p) }

// replace writes a file whole or not at all.
func replace(name string, content []byte) error {
	if err := os.WriteFile(name+".tmp", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
