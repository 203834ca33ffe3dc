package issuer

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// live holds minted ID tokens until half their life is over, so that whoever
// asks again within it costs no signature. It is bounded: two generations, the
// older of which is dropped when the newer is full. Its zero value is empty.
type live struct {
	mu         sync.Mutex
	young, old map[[32]byte]kept
}

type kept struct {
	Minted
	epoch uint64
	half  time.Time
}

const mostLive = 4096 // in each generation; some 1.5 KiB each

// find gives a token that was minted with this key and at this epoch: what was
// revoked since ends the re-use for everyone.
func (l *live) find(digest [32]byte, keyID string, epoch uint64, now time.Time) (Minted, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.young[digest]
	if !ok {
		k, ok = l.old[digest]
	}
	if !ok || k.KeyID != keyID || k.epoch != epoch || now.Before(k.Issued) || !now.Before(k.half) {
		return Minted{}, false
	}
	return k.Minted, true
}

func (l *live) keep(digest [32]byte, m Minted, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == nil || len(l.young) >= mostLive {
		l.young, l.old = map[[32]byte]kept{}, l.young
	}
	l.young[digest] = kept{m, epoch, m.Issued.Add(m.Expires.Sub(m.Issued) / 2)}
}

// digest names what the token says, but its epoch; false for one that is for
// one answer alone.
func (t IDToken) digest() ([32]byte, bool) {
	if t.Nonce != "" || t.AccessTokenHash != "" || len(t.Profile) > 0 {
		return [32]byte{}, false
	}
	b := make([]byte, 0, 512)
	add := func(texts ...string) {
		b = binary.AppendUvarint(b, uint64(len(texts)))
		for _, s := range texts {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	}
	add(string(t.Level), t.Algorithm, t.Subject, t.Audience, t.Role.Partition, t.Role.Account, t.Role.Path, t.Role.Name,
		t.SourceIdentity, string(t.LoginSession), t.AuthorizedParty, t.ACR,
		string(t.OnNode.Attachment), string(t.OnNode.Node), string(t.OnNode.Cluster), t.OnNode.Owner)
	for _, tag := range t.Tags {
		add(tag.Key, tag.Value)
	}
	add(t.TransitiveTagKeys...)
	add(t.AMR...)
	b = binary.AppendVarint(b, t.AuthTime.Unix())
	b = binary.AppendVarint(b, int64(t.Lifetime))
	return sha256.Sum256(b), true
}
