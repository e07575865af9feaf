package store

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"
)

// Owners restricts a question to the jobs of some owners. A field that is nil restricts nothing.
type Owners struct{ Tenant, Subject *string }

// known tells which jobs a partition has, by the hashes of their IDs, and whose they are, by hashes of tenant and
// subject. So a question for a job that the store does not have, or that is somebody else's, is answered without a
// read, and takes the same time for both.
//
// What a seal says is searched as it was read: to make a map of it would be most of the time that it takes to open a
// store. A map has what is different since.
type known struct {
	sealed  []byte              // entries of sealEntry bytes, in the order of their hashes
	changed map[uint64]knownJob // goes before sealed; without a count, the job is not there
}

// knownJob is what is known of all jobs whose IDs have one hash; nearly always it is one job.
type knownJob struct {
	count   uint8 // at maxKnown the count is lost and stays
	mixed   bool  // they do not have the same owner, or the job got another owner
	tenant  uint16
	subject uint32
}

// maxKnown is how many jobs whose IDs have one hash are counted.
const maxKnown = 255

func newKnown() known { return known{changed: map[uint64]knownJob{}} }

func tenantHash(tenant string) uint16 { return uint16(xxhash.Sum64String(tenant)) }

func subjectHash(subject string) uint32 { return uint32(xxhash.Sum64String(subject)) }

// get returns what is known of the jobs whose IDs have a hash; its count is 0 if there are none.
func (k known) get(id uint64) knownJob {
	if j, ok := k.changed[id]; ok {
		return j
	}
	return k.find(id)
}

// find is get for what the seal says.
func (k known) find(id uint64) knownJob {
	n := len(k.sealed) / sealEntry
	i := sort.Search(n, func(i int) bool { return binary.BigEndian.Uint64(k.sealed[i*sealEntry:]) >= id })
	if i == n || binary.BigEndian.Uint64(k.sealed[i*sealEntry:]) != id {
		return knownJob{}
	}
	return decodeKnown(k.sealed[i*sealEntry:])
}

// set sets what is known of the jobs whose IDs have a hash.
func (k known) set(id uint64, j knownJob) {
	if j.count == 0 && k.find(id).count == 0 {
		delete(k.changed, id)
		return
	}
	k.changed[id] = j
}

// add counts a job. It is called before the job's row is committed.
func (k known) add(id, tenant, subject string) {
	k.count(xxhash.Sum64String(id), tenantHash(tenant), subjectHash(subject))
}

// count is add for hashes.
func (k known) count(id uint64, tenant uint16, subject uint32) {
	was := k.get(id)
	j := knownJob{count: was.count, tenant: tenant, subject: subject}
	j.mixed = was.mixed || was.count > 0 && (was.tenant != tenant || was.subject != subject)
	if j.count < maxKnown {
		j.count++
	}
	k.changed[id] = j
}

// noteOwner notes that a job has got another owner.
func (k known) noteOwner(id string) {
	h := xxhash.Sum64String(id)
	if j := k.get(h); j.count > 0 {
		j.mixed = true
		k.changed[h] = j
	}
}

// remove is called after a removal was committed.
func (k known) remove(id string) {
	h := xxhash.Sum64String(id)
	switch j := k.get(h); j.count {
	case maxKnown:
	case 0, 1:
		k.set(h, knownJob{})
	default:
		j.count--
		k.changed[h] = j
	}
}

// entries returns all that is known, as a seal has it.
func (k known) entries() []byte {
	ids := make([]uint64, 0, len(k.changed))
	for id := range k.changed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	all := make([]byte, 0, len(k.sealed)+len(ids)*sealEntry)
	rest := k.sealed
	for _, id := range ids {
		n := 0
		for n < len(rest) && binary.BigEndian.Uint64(rest[n:]) < id {
			n += sealEntry
		}
		all, rest = append(all, rest[:n]...), rest[n:]
		if len(rest) > 0 && binary.BigEndian.Uint64(rest) == id {
			rest = rest[sealEntry:]
		}
		if j := k.changed[id]; j.count > 0 {
			all = appendKnown(all, id, j)
		}
	}
	return append(all, rest...)
}

func appendKnown(b []byte, id uint64, j knownJob) []byte {
	mixed := byte(0)
	if j.mixed {
		mixed = 1
	}
	b = append(binary.BigEndian.AppendUint64(b, id), j.count, mixed)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, j.tenant), j.subject)
}

func decodeKnown(b []byte) knownJob {
	return knownJob{count: b[8], mixed: b[9] != 0, tenant: binary.BigEndian.Uint16(b[10:]),
		subject: binary.BigEndian.Uint32(b[12:])}
}

// openKnown returns what entries of a seal say, after it has looked whether they can be searched and say of as many
// jobs as there are.
func openKnown(entries []byte, jobs int64) (known, bool) {
	counted, last, lost := int64(0), uint64(0), false
	for b := entries; len(b) > 0; b = b[sealEntry:] {
		id := binary.BigEndian.Uint64(b)
		if id <= last && len(b) < len(entries) {
			return known{}, false
		}
		last = id
		counted += int64(b[8])
		lost = lost || b[8] == maxKnown
	}
	k := newKnown()
	k.sealed = entries
	return k, counted == jobs || lost
}

// may reports whether there may be such a job of one of the owners. It never says no of one that there is.
func (k known) may(id string, of Owners) bool {
	j := k.get(xxhash.Sum64String(id))
	if j.count == 0 || j.mixed {
		return j.count > 0
	}
	return (of.Tenant == nil || j.tenant == tenantHash(*of.Tenant)) &&
		(of.Subject == nil || j.subject == subjectHash(*of.Subject))
}
