//! A device in memory, for tests and benchmarks: two queues of frames that the test holds the other end of.
