namespace KeyVa.Io;

/// <summary>
/// A held flock(2). Letting go unlocks before it closes: a process that somebody starts at that moment has, between fork and exec, a
/// copy of every descriptor, and closing one's own would leave the lock with the copy.
/// </summary>
internal sealed class FileLock(FileDescriptor descriptor) : IDisposable
{
    public void Dispose()
    {
        if (!descriptor.IsClosed)
        {
            // It fails only for what is no open file; closing lets go too, if later.
            _ = Posix.Lock(descriptor, Posix.Unlock);
            descriptor.Dispose();
        }
    }
}
