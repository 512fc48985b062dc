namespace KeyVa.Io;
internal sealed class DiskFileSystem;
internal sealed class MemoryFileSystem;
