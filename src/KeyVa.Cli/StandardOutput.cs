using System.Runtime.InteropServices;

namespace KeyVa.Cli;

/// <summary>
/// The process's output as plain <c>write(2)</c> calls. The runtime's console stream swallows EPIPE, so that
/// <c>keyva scan | head</c> would go through the whole store for nobody; its file stream writes at an offset of its own,
/// so that two commands that share a redirected output overwrite each other. Not thread-safe.
/// </summary>
internal sealed partial class StandardOutput : Stream
{
    private const int Eintr = 4;
    private const int Eagain = 11;
    private const int Epipe = 32;
    private const short PollOut = 4;

    private readonly int _descriptor;

    private StandardOutput(int descriptor) => _descriptor = descriptor;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Opens the standard output of this process.</summary>
    public static Stream Open() => OperatingSystem.IsLinux() ? new StandardOutput(1) : Console.OpenStandardOutput();

    public override unsafe void Write(ReadOnlySpan<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            int done = 0;
            while (done < buffer.Length)
            {
                nint written = WriteDescriptor(_descriptor, bytes + done, (nuint)(buffer.Length - done));
                if (written >= 0)
                {
                    done += (int)written;
                }
                else
                {
                    Recover(Marshal.GetLastPInvokeError());
                }
            }
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static unsafe partial nint WriteDescriptor(int descriptor, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static unsafe partial int Poll(PollEntry* entries, nuint count, int milliseconds);

    private unsafe void Recover(int error)
    {
        switch (error)
        {
            case Eintr:
                return;
            case Eagain:
                // The pipe is shared with a program that made it non-blocking: wait for room.
                PollEntry entry = new() { Descriptor = _descriptor, Events = PollOut };
                _ = Poll(&entry, 1, -1);
                return;
            case Epipe:
                throw new BrokenPipeException();
            default:
                throw new IOException($"writing to the standard output failed: {Marshal.GetPInvokeErrorMessage(error)}");
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}

/// <summary>Whoever read the output has gone; there is nobody left to tell.</summary>
internal sealed class BrokenPipeException : IOException
{
    public BrokenPipeException()
        : base("the reader of the output has gone")
    {
    }
}
