using System.Runtime.InteropServices;

namespace KeyVa.Cluster;

/// <summary>
/// What a loop sleeps on: descriptors, and a counter (eventfd) by which other threads wake it. One thread waits, any thread wakes. A thread
/// that wakes a loop which is awake pays one read of memory.
/// </summary>
internal sealed unsafe partial class WakeUp : IDisposable
{
    private const short Readable = 1;
    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const string SystemLibrary = "libc";

    private readonly int _counter;
    private PollDescriptor[] _descriptors = GC.AllocateArray<PollDescriptor>(8, pinned: true);
    private int _count;

    // Shared: 1 from the moment at which the loop says that it is going to sleep.
    private int _asleep;

    // Shared: threads that may be about to write to the counter.
    private int _wakers;

    public WakeUp()
    {
        _counter = EventCounter(0, CloseOnExec | NonBlocking);
        if (_counter < 0)
        {
            int error = Marshal.GetLastPInvokeError();
            throw new StoreException($"a counter to wake a thread with cannot be had: {Marshal.GetPInvokeErrorMessage(error)} (errno {error})");
        }

        Add(_counter);
    }

    /// <summary>Has the loop watch one more descriptor, from the next sleep on; returns its place.</summary>
    public int Add(int descriptor)
    {
        if (_count == _descriptors.Length)
        {
            PollDescriptor[] more = GC.AllocateArray<PollDescriptor>(_count * 2, pinned: true);
            _descriptors.CopyTo(more, 0);
            _descriptors = more;
        }

        _descriptors[_count] = new PollDescriptor { Descriptor = descriptor, Wanted = Readable };
        return _count++;
    }

    /// <summary>Forgets all descriptors but the counter.</summary>
    public void Clear() => _count = 1;

    /// <summary>Whether what stands at a place had something to tell when the loop woke up.</summary>
    public bool IsReady(int place) => _descriptors[place].Found != 0;

    /// <summary>
    /// To be called before a last look at what there is to do, then <see cref="Sleep"/>: who adds something after the look sees the loop asleep.
    /// </summary>
    public void BeginSleep() => Interlocked.Exchange(ref _asleep, 1);

    /// <summary>Waits until a descriptor tells something, somebody wakes the loop or the time is over.</summary>
    public void Sleep(int milliseconds)
    {
        // The array is pinned from its making on.
        int found = Poll((PollDescriptor*)Marshal.UnsafeAddrOfPinnedArrayElement(_descriptors, 0), (uint)_count, milliseconds);
        Volatile.Write(ref _asleep, 0);
        if (found < 0)
        {
            // A signal: nothing is known, and nothing lost.
            for (int i = 0; i < _count; i++)
            {
                _descriptors[i].Found = 0;
            }
        }
        else if (_descriptors[0].Found != 0)
        {
            ulong count;
            _ = Read(_counter, &count, sizeof(ulong));
        }
    }

    /// <summary>Wakes the loop, if it sleeps or is about to. What it is to find was written before.</summary>
    public void Wake()
    {
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _asleep) == 0)
        {
            return;
        }

        Interlocked.Increment(ref _wakers);
        if (Interlocked.Exchange(ref _asleep, 0) == 1)
        {
            ulong one = 1;
            _ = Write(_counter, &one, sizeof(ulong));
        }

        Interlocked.Decrement(ref _wakers);
    }

    /// <summary>Once the loop has ended. <see cref="Wake"/> may be called still, and does nothing.</summary>
    public void Dispose()
    {
        // A number that is closed may be another file's at once: whoever is about to write to it is waited for. Nobody begins to any more, since the loop does not sleep.
        SpinWait wait = default;
        while (Volatile.Read(ref _wakers) > 0)
        {
            wait.SpinOnce();
        }

        _ = Close(_counter);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollDescriptor
    {
        public int Descriptor;
        public short Wanted;
        public short Found;
    }

    [LibraryImport(SystemLibrary, EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventCounter(uint first, int flags);

    [LibraryImport(SystemLibrary, EntryPoint = "poll")]
    private static partial int Poll(PollDescriptor* descriptors, nuint count, int milliseconds);

    [LibraryImport(SystemLibrary, EntryPoint = "write")]
    private static partial nint Write(int descriptor, ulong* value, nuint length);

    [LibraryImport(SystemLibrary, EntryPoint = "read")]
    private static partial nint Read(int descriptor, ulong* value, nuint length);

    [LibraryImport(SystemLibrary, EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
