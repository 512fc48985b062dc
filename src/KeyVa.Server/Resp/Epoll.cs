using System.Runtime.InteropServices;

namespace KeyVa.Server.Resp;

/// <summary>
/// The calls of Linux that the loops stand on (x64 and arm64). Every call that fails returns -1 and leaves the reason to
/// <see cref="Marshal.GetLastSystemError"/>.
/// </summary>
internal static unsafe partial class Epoll
{
    public const uint Readable = 0x1;
    public const uint Writable = 0x4;
    public const uint Error = 0x8;
    public const uint HungUp = 0x10;
    public const uint PeerHungUp = 0x2000;
    public const uint EdgeTriggered = 1u << 31;

    public const int Interrupted = 4;
    public const int WouldBlock = 11;

    private const int AddDescriptor = 1;
    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const int DoNotWait = 0x40;
    private const int NoSignal = 0x4000;
    private const string Library = "libc";

    // struct epoll_event is packed on x64 alone.
    private static readonly int EventBytes = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    private static readonly int DataOffset = EventBytes - 8;

    public static int Create() => EpollCreate(CloseOnExec);

    public static int CreateWakeUp() => EventFd(0, CloseOnExec | NonBlocking);

    /// <summary>Tells of a descriptor from now on, with its own number.</summary>
    public static int Add(int epoll, int descriptor, uint events)
    {
        byte* one = stackalloc byte[16];
        *(uint*)one = events;
        *(ulong*)(one + DataOffset) = (uint)descriptor;
        return EpollControl(epoll, AddDescriptor, descriptor, one);
    }

    /// <summary>Room for so many events.</summary>
    public static byte[] Events(int count) => GC.AllocateUninitializedArray<byte>(count * EventBytes, pinned: true);

    public static int Wait(int epoll, byte[] events, int milliseconds) =>
        EpollWait(epoll, (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(events, 0), events.Length / EventBytes, milliseconds);

    public static (int Descriptor, uint Events) EventAt(byte[] events, int number)
    {
        ReadOnlySpan<byte> one = events.AsSpan(number * EventBytes, EventBytes);
        return (MemoryMarshal.Read<int>(one[DataOffset..]), MemoryMarshal.Read<uint>(one));
    }

    public static int Receive(int descriptor, Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            return (int)Recv(descriptor, bytes, (nuint)buffer.Length, DoNotWait);
        }
    }

    public static int Send(int descriptor, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            return (int)Send(descriptor, bytes, (nuint)buffer.Length, DoNotWait | NoSignal);
        }
    }

    public static void Wake(int wakeUp)
    {
        ulong one = 1;
        _ = Write(wakeUp, &one, sizeof(ulong));
    }

    public static void Awake(int wakeUp)
    {
        ulong count;
        _ = Read(wakeUp, &count, sizeof(ulong));
    }

    [LibraryImport(Library, EntryPoint = "close")]
    public static partial int Close(int descriptor);

    [LibraryImport(Library, EntryPoint = "epoll_create1")]
    private static partial int EpollCreate(int flags);

    [LibraryImport(Library, EntryPoint = "epoll_ctl")]
    private static partial int EpollControl(int epoll, int operation, int descriptor, byte* one);

    [LibraryImport(Library, EntryPoint = "epoll_wait")]
    private static partial int EpollWait(int epoll, byte* events, int count, int milliseconds);

    [LibraryImport(Library, EntryPoint = "eventfd")]
    private static partial int EventFd(uint first, int flags);

    [LibraryImport(Library, EntryPoint = "recv")]
    private static partial nint Recv(int descriptor, byte* buffer, nuint length, int flags);

    [LibraryImport(Library, EntryPoint = "send")]
    private static partial nint Send(int descriptor, byte* buffer, nuint length, int flags);

    [LibraryImport(Library, EntryPoint = "write")]
    private static partial nint Write(int descriptor, ulong* value, nuint length);

    [LibraryImport(Library, EntryPoint = "read")]
    private static partial nint Read(int descriptor, ulong* value, nuint length);
}
