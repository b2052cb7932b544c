package postgres

// KeptQueries are the statements whose plans connections keep.
func KeptQueries() map[string]string {
	return map[string]string{"accept": acceptSQL, "flush": flushSQL}
}
