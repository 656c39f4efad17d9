package ebs

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/chunks"
)

// tokenLife is how long tokens are good for, as AWS's.
const tokenLife = 7 * 24 * time.Hour

// maxToken bounds what is decoded of a client's token, in characters: AWS's limit.
const maxToken = 256

// A token is sealed: nobody can read or make one, and it opens only for the account, snapshots and place that it was given
// for. AWS's have letters, digits, +, / and = only.

func (s *Service) token(expires time.Time, content []byte, scope string) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	return base64.StdEncoding.EncodeToString(s.Sealer.Seal(append(plain, content...), scope))
}

func (s *Service) open(token, scope string) ([]byte, bool) {
	if len(token) > maxToken {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, false
	}
	plain, err := s.Sealer.Open(raw, scope)
	if err != nil || len(plain) < 8 || s.Now().After(time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)) {
		return nil, false
	}
	return plain[8:], true
}

func blockScope(info *call.Info, snapshot string, index uint32) string {
	return fmt.Sprintf("ebs block:%s/%s/%s/%d", info.AccountID, info.Region, snapshot, index)
}

// blockToken stands for the block of a snapshot. It carries the block's name, so that the list is not needed to read it;
// the name is zero where the data is not kept in blocks.
func (s *Service) blockToken(info *call.Info, snapshot string, index uint32, id chunks.ID, expires time.Time) string {
	return s.token(expires, id[:], blockScope(info, snapshot, index))
}

func (s *Service) openBlock(info *call.Info, snapshot string, index uint32, token string) (chunks.ID, error) {
	raw, ok := s.open(token, blockScope(info, snapshot, index))
	if !ok || len(raw) != len(chunks.ID{}) {
		return chunks.ID{}, invalid("INVALID_BLOCK_TOKEN", "The block token is not valid or has expired.")
	}
	return chunks.ID(raw), nil
}

func pageScope(info *call.Info, list string) string {
	return "ebs page:" + info.AccountID + "/" + info.Region + "/" + list
}

func (s *Service) pageToken(info *call.Info, list string, next uint32) string {
	return s.token(s.Now().Add(tokenLife), binary.BigEndian.AppendUint32(nil, next), pageScope(info, list))
}

func (s *Service) openPage(info *call.Info, list, token string) (uint32, error) {
	raw, ok := s.open(token, pageScope(info, list))
	if !ok || len(raw) != 4 {
		return 0, invalid("INVALID_PAGE_TOKEN", "The page token is not valid or has expired.")
	}
	return binary.BigEndian.Uint32(raw), nil
}
