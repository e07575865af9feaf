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

// Catalog lists what the broker's folder must hold. It is written every second. By it Read can tell records that
// were lost from records that were never written.
type Catalog struct {
	ClusterID string `json:"clusterId"`
	// Topics are the topics of topics.json.
	Topics []Topic `json:"topics"`
	// Marks are the offsets at which partitions begin and end, by the names of their folders.
	Marks map[string]Mark `json:"marks"`
	// Retaining is true while old segments are being removed, so partitions may begin later.
	Retaining bool `json:"retaining,omitempty"`
}

// Mark has the first offset of a partition, and the one after its last.
type Mark struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Topic is an entry of topics.json; Raw is its JSON.
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

// errDamaged is the error of a file that cannot be decoded or whose checksum is wrong.
var errDamaged = errors.New("it is damaged")

// readCatalog returns the folder's catalog, or nil when there is none.
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

// topicsFile is the content of topics.json.
type topicsFile struct {
	Version int     `json:"version"`
	Topics  []Topic `json:"topics"`
}

// ReadTopics returns the topics in topics.json of a broker's folder.
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

// Closed returns the catalog with the marks from the summaries of partitions that the broker writes when it closes.
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

// snapshot is the summary of a partition that the broker writes when it closes.
type snapshot struct {
	Version int   `json:"version"`
	End     int64 `json:"high_watermark"`
	Stable  int64 `json:"last_stable_offset"`
	Start   int64 `json:"log_start_offset"`
}

// Folder returns the name of a partition's folder, which is also the key of its mark.
func Folder(topic string, p int32) string { return fmt.Sprintf("%s-%d", url.PathEscape(topic), p) }

// replace replaces a file as a whole: after a crash it has the old content or the new.
func replace(name string, content []byte) error {
	if err := os.WriteFile(name+".tmp", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
