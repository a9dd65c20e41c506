package topology

// RefusesWrite reports whether this node, as a replica, must refuse a write of
// a sender whose newest ring version is known: it does not know a version that
// was compared for here, so that nobody would look for its write; or every
// version that it writes under is over.
func (s *State) RefusesWrite(known uint64) bool {
	return s.Seal > known || s.Oldest() > known
}

// RefusesRead is RefusesWrite for a read that uses a version: others may write
// without the replicas of a version that this node is done with.
func (s *State) RefusesRead(known, used uint64) bool {
	return s.Seal > known || s.Oldest() > used || s.Own().Done > used
}
