package store

import "github.com/cespare/xxhash/v2"

// Owners restricts a question to the jobs of some owners. A field that is nil restricts nothing.
type Owners struct{ Tenant, Subject *string }

// known tells which jobs a partition has, by the hashes of their IDs, and whose they are, by hashes of tenant and
// subject. So a question for a job that the store does not have, or that is somebody else's, is answered without a
// read, and takes the same time for both.
type known map[uint64]knownJob

// knownJob is what is known of all jobs whose IDs have one hash; nearly always it is one job.
type knownJob struct {
	count   uint8 // at 255 the count is lost and stays
	mixed   bool  // they do not have the same owner, or the job got another owner
	tenant  uint16
	subject uint32
}

func tenantHash(tenant string) uint16 { return uint16(xxhash.Sum64String(tenant)) }

func subjectHash(subject string) uint32 { return uint32(xxhash.Sum64String(subject)) }

// add counts a job. It is called before the job's row is committed.
func (k known) add(id, tenant, subject string) {
	k.count(xxhash.Sum64String(id), tenantHash(tenant), subjectHash(subject))
}

// count is add for hashes.
func (k known) count(id uint64, tenant uint16, subject uint32) {
	was := k[id]
	j := knownJob{count: was.count, tenant: tenant, subject: subject}
	j.mixed = was.mixed || was.count > 0 && (was.tenant != tenant || was.subject != subject)
	if j.count < 255 {
		j.count++
	}
	k[id] = j
}

// changed notes that a job has got another owner.
func (k known) changed(id string) {
	h := xxhash.Sum64String(id)
	if j, ok := k[h]; ok {
		j.mixed = true
		k[h] = j
	}
}

// remove is called after a removal was committed.
func (k known) remove(id string) {
	h := xxhash.Sum64String(id)
	switch j := k[h]; j.count {
	case 255:
	case 0, 1:
		delete(k, h)
	default:
		j.count--
		k[h] = j
	}
}

// may reports whether there may be such a job of one of the owners. It never says no of one that there is.
func (k known) may(id string, of Owners) bool {
	j := k[xxhash.Sum64String(id)]
	if j.count == 0 || j.mixed {
		return j.count > 0
	}
	return (of.Tenant == nil || j.tenant == tenantHash(*of.Tenant)) &&
		(of.Subject == nil || j.subject == subjectHash(*of.Subject))
}
