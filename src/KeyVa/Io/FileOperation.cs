namespace KeyVa.Io;

/// <summary>What <see cref="MemoryFileSystem"/> counts and can be told to fail.</summary>
internal enum FileOperation
{
    Create,
    Open,
    Read,
    Write,
    Allocate,
    SetLength,
    SyncData,
    Sync,
    CreateDirectory,
    List,
    Delete,
    Rename,
    HardLink,
    SyncDirectory,
    Lock,
    Prefetch,
}
