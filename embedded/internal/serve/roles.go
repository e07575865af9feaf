package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/topic"
)

// Files of a role's folder, besides copies of keys. The group of the process that makes them can read them.
const (
	authorityFile = "ca.pem"         // the authority of all certificates of the deployment
	authorityKey  = "ca.key"         // in the data folder only
	certFile      = "tls.pem"        // the role's certificate
	certKeyFile   = "tls.key"        // its private key
	bothFile      = "tls.both.pem"   // key and certificate in one, as Kafka and HAProxy take them
	passwordFile  = "kafka.password" // of the role's user in Kafka
	usersFile     = "scram"          // all users of Kafka, as kafka-storage.sh format --add-scram takes them
	opsToken      = "ops.token"      // for --ops-token-file
)

// Lives of certificates. A certificate that ends within renewBefore is replaced.
const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	certificateLife = 2 * 365 * 24 * time.Hour
	renewBefore     = 90 * 24 * time.Hour
)

// lanePrefix begins the names of the roles of processors, which end with a lane.
const lanePrefix = "processor-"

// kit is what a role is given.
type kit struct {
	certificate bool     // a certificate and its key
	both        bool     // the same in one file
	kafka       bool     // a user in Kafka, with a password
	keys        []string // copies of keys in the data folder
}

// kits by role; that of a processor is in kitOf.
var kits = map[string]kit{
	"kafka":   {both: true},
	"gateway": {certificate: true, kafka: true, keys: []string{tokenKey, grantKey, idKey, peersKey, opsToken}},
	"tracker": {certificate: true, kafka: true, keys: []string{peersKey, opsToken}},
	"cli":     {kafka: true, keys: []string{tokenKey, webhookKey}},
	"admin":   {kafka: true},
	"metrics": {keys: []string{opsToken}},
	"lb":      {both: true},
}

func kitOf(role string) (k kit, err error) {
	if k, ok := kits[role]; ok {
		return k, nil
	}
	lane, ok := strings.CutPrefix(role, lanePrefix)
	if !ok || lane == "" {
		return k, fmt.Errorf("roles: %q is not kafka, gateway, tracker, processor-LANE, cli, admin, metrics or lb", role)
	}
	k = kit{certificate: true, kafka: true, keys: []string{opsToken}}
	if lane == topic.WebhookLane {
		k.keys = append(k.keys, webhookKey)
	}
	return k, nil
}

// KafkaUser returns the name of a role's user in Kafka.
func KafkaUser(role string) string { return "ackwire-" + role }

// Roles makes what the processes of a deployment need to know each other and Kafka: an authority in the folder dir, and
// in a folder below it for each role the authority's certificate, the role's own certificate, its password for Kafka,
// and copies of the keys that it needs. A role is ROLE or ROLE=HOST+HOST, with the hosts of its certificate.
// What is there is kept; certificates that end soon, or are for other hosts, are replaced.
func Roles(dir string, roles []string) error {
	if _, err := Keys(dir); err != nil {
		return err
	}
	if _, err := keep(dir, opsToken, secretLine); err != nil {
		return err
	}
	a, err := openAuthority(dir)
	if err != nil {
		return err
	}
	var users []string
	for _, r := range roles {
		user, err := a.role(dir, r)
		if err != nil {
			return err
		}
		if user != "" {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	if folder := filepath.Join(dir, "kafka"); slices.ContainsFunc(roles, func(r string) bool {
		return strings.HasPrefix(r, "kafka")
	}) {
		return replace(filepath.Join(folder, usersFile), []byte(strings.Join(users, "\n")+"\n"))
	}
	return nil
}

func secretLine() []byte { return []byte(hex.EncodeToString(newKey()) + "\n") }

// authority signs the certificates.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// openAuthority returns the authority of a folder. The first call makes it.
func openAuthority(dir string) (a authority, err error) {
	raw, err := keep(dir, authorityKey, func() []byte { return newPrivateKey() })
	if err != nil {
		return a, err
	}
	if a.key, err = parsePrivateKey(raw); err != nil {
		return a, fmt.Errorf("%s: %w", filepath.Join(dir, authorityKey), err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Ackwire deployment " + hex.EncodeToString(newKey()[:4])},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	var wrong error
	a.pem, err = keep(dir, authorityFile, func() []byte {
		var der []byte
		der, wrong = x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	if err = errors.Join(err, wrong); err != nil {
		return a, err
	}
	if a.cert, err = parseCertificate(a.pem); err != nil {
		return a, fmt.Errorf("%s: %w", filepath.Join(dir, authorityFile), err)
	}
	return a, nil
}

// role makes one role's folder, and returns the line of its user for Kafka, if it has one.
func (a authority) role(dir, text string) (user string, err error) {
	role, list, _ := strings.Cut(text, "=")
	hosts := strings.Split(list, "+")
	if list == "" {
		hosts = []string{role}
	}
	k, err := kitOf(role)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(dir, role)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return "", err
	}
	if err := replace(filepath.Join(folder, authorityFile), a.pem); err != nil {
		return "", err
	}
	for _, name := range k.keys {
		key, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		if err := replace(filepath.Join(folder, name), key); err != nil {
			return "", err
		}
	}
	if k.certificate || k.both {
		if err := a.certify(folder, role, hosts, k); err != nil {
			return "", err
		}
	}
	if !k.kafka {
		return "", nil
	}
	file := filepath.Join(folder, passwordFile)
	password, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		password = secretLine()
		err = replace(file, password)
	}
	return fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", KafkaUser(role), bytes.TrimSpace(password)), err
}

// certify makes a role's certificate, unless there is a good one.
func (a authority) certify(folder, role string, hosts []string, k kit) error {
	file := filepath.Join(folder, certFile)
	if k.both {
		file = filepath.Join(folder, bothFile)
	}
	if old, err := os.ReadFile(file); err == nil && a.good(old, hosts) {
		return nil
	}
	keyPEM := newPrivateKey()
	key, err := parsePrivateKey(keyPEM)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: role},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if role == "kafka" { // brokers are each other's clients
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if k.both {
		return replace(file, slices.Concat(keyPEM, cert))
	}
	return errors.Join(replace(filepath.Join(folder, certKeyFile), keyPEM), replace(file, cert))
}

// good reports whether a file's certificate is one of the authority's for all hosts that does not end soon.
func (a authority) good(file []byte, hosts []string) bool {
	cert, err := parseCertificate(file)
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil || time.Until(cert.NotAfter) < renewBefore {
		return false
	}
	return !slices.ContainsFunc(hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

// replace writes a file as a whole, unless it has the content already. Its group may read it.
func replace(file string, content []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(0o640), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

func newPrivateKey() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // rand.Reader never fails (crypto/rand)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // a key of P-256 can be written
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func parsePrivateKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return ec, nil
}

// parseCertificate returns the first certificate of a file.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return nil, errors.New("no certificate in PEM")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

func serial() *big.Int { return new(big.Int).SetBytes(newKey()[:16]) }
