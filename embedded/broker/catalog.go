package broker

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"

	"github.com/ackwire/ackwire/embedded/broker/audit"
)

// catalog has the content of the catalog file as last written.
type catalog struct{ last audit.Catalog }

// note writes the catalog: the topics and where their partitions begin and end. By it the next start can tell lost
// records from records that were never written. retaining says that old segments are about to be removed.
func (b *Broker) note(retaining bool) {
	now := audit.Catalog{ClusterID: b.id, Marks: map[string]audit.Mark{}, Retaining: retaining}
	var err error
	if now.Topics, err = audit.ReadTopics(b.dir); err != nil {
		return // there are no topics yet, or the file is just being replaced
	}
	for _, t := range now.Topics {
		for _, p := range b.cluster.PartitionInfos(t.Name) {
			now.Marks[audit.Folder(t.Name, p.Partition)] = audit.Mark{Start: p.LogStartOffset, End: p.HighWatermark}
		}
	}
	b.writeCatalog(now)
}

// noteClosed writes the catalog after the broker has closed, with the final ends of its partitions.
func (b *Broker) noteClosed() { b.writeCatalog(b.catalog.last.Closed(b.dir)) }

func (b *Broker) writeCatalog(now audit.Catalog) {
	if len(now.Topics) == 0 || reflect.DeepEqual(now, b.catalog.last) {
		return
	}
	if err := now.Write(b.dir); err != nil {
		b.log.failed("write the catalog: " + err.Error())
		return
	}
	b.catalog.last = now
}

// touchBytes is more than may fit by chance on a full file system.
const touchBytes = 256 << 10

// touch writes a file to the folder, syncs and removes it, and returns an error when the disk does not take it.
func touch(dir string) error {
	name := filepath.Join(dir, "disk-probe.tmp")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, touchBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(name))
}
