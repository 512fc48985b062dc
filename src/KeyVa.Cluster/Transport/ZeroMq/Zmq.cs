using System.Runtime.InteropServices;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// The calls of libzmq 4.3 that its manual calls stable. A socket serves one thread at a time. Ask <see cref="ZmqLibrary.Require"/> first:
/// without the library every call throws. What fails returns -1 (or null) and leaves the reason to <see cref="Marshal.GetLastPInvokeError"/>,
/// which keeps errno from the moment the call came back.
/// </summary>
internal static unsafe partial class Zmq
{
    public const string Library = "libzmq.so.5";

    // Socket types.
    public const int Pair = 0;
    public const int Reply = 4;
    public const int Dealer = 5;
    public const int Router = 6;

    // Flags of a call.
    public const int DoNotWait = 1;
    public const int SendMore = 2;

    // Events of a socket, see Events.
    public const int Readable = 1;
    public const int Writable = 2;

    // Options: the numbers are those of zmq.h.
    public const int Descriptor = 14;
    public const int Events = 15;
    public const int Linger = 17;
    public const int ReconnectInterval = 18;
    public const int Backlog = 19;
    public const int ReconnectIntervalMost = 21;
    public const int MaxMessageBytes = 22;
    public const int SendHighWaterMark = 23;
    public const int ReceiveHighWaterMark = 24;
    public const int LastEndpoint = 32;
    public const int Immediate = 39;
    public const int IPv6 = 42;
    public const int CurveServer = 47;
    public const int CurvePublicKey = 48;
    public const int CurveSecretKey = 49;
    public const int CurveServerKey = 50;
    public const int AuthenticationDomain = 55;
    public const int HandshakeInterval = 66;
    public const int HeartbeatInterval = 75;
    public const int HeartbeatLife = 76;
    public const int HeartbeatTimeout = 77;
    public const int ConnectTimeout = 79;

    // What a monitor tells.
    public const int EventDisconnected = 0x0200;
    public const int EventHandshakeFailed = 0x0800;
    public const int EventHandshakeSucceeded = 0x1000;
    public const int EventHandshakeFailedProtocol = 0x2000;
    public const int EventHandshakeFailedAuthentication = 0x4000;

    /// <summary>errno where a call would have to wait.</summary>
    public const int TryAgain = 11;

    /// <summary>errno where a signal came in between.</summary>
    public const int Interrupted = 4;

    [LibraryImport(Library, EntryPoint = "zmq_version")]
    public static partial void Version(out int major, out int minor, out int patch);

    [LibraryImport(Library, EntryPoint = "zmq_has", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Has(string capability);

    [LibraryImport(Library, EntryPoint = "zmq_strerror")]
    public static partial byte* ErrorText(int error);

    [LibraryImport(Library, EntryPoint = "zmq_ctx_new", SetLastError = true)]
    public static partial nint CreateContext();

    [LibraryImport(Library, EntryPoint = "zmq_ctx_term", SetLastError = true)]
    public static partial int EndContext(nint context);

    [LibraryImport(Library, EntryPoint = "zmq_socket", SetLastError = true)]
    public static partial nint CreateSocket(nint context, int type);

    [LibraryImport(Library, EntryPoint = "zmq_close", SetLastError = true)]
    public static partial int Close(nint socket);

    [LibraryImport(Library, EntryPoint = "zmq_setsockopt", SetLastError = true)]
    public static partial int SetOption(nint socket, int option, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "zmq_getsockopt", SetLastError = true)]
    public static partial int GetOption(nint socket, int option, void* value, nuint* bytes);

    [LibraryImport(Library, EntryPoint = "zmq_bind", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Bind(nint socket, string address);

    [LibraryImport(Library, EntryPoint = "zmq_connect", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Connect(nint socket, string address);

    [LibraryImport(Library, EntryPoint = "zmq_socket_monitor", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Monitor(nint socket, string? address, int events);

    [LibraryImport(Library, EntryPoint = "zmq_send", SetLastError = true)]
    public static partial int Send(nint socket, byte* bytes, nuint count, int flags);

    [LibraryImport(Library, EntryPoint = "zmq_msg_init")]
    public static partial int InitMessage(ZmqMessage* message);

    [LibraryImport(Library, EntryPoint = "zmq_msg_init_size", SetLastError = true)]
    public static partial int InitMessage(ZmqMessage* message, nuint bytes);

    [LibraryImport(Library, EntryPoint = "zmq_msg_close")]
    public static partial int CloseMessage(ZmqMessage* message);

    [LibraryImport(Library, EntryPoint = "zmq_msg_data")]
    public static partial byte* MessageData(ZmqMessage* message);

    [LibraryImport(Library, EntryPoint = "zmq_msg_size")]
    public static partial nuint MessageBytes(ZmqMessage* message);

    [LibraryImport(Library, EntryPoint = "zmq_msg_more")]
    public static partial int HasMore(ZmqMessage* message);

    /// <summary>A property of the connection that a message came over; null if there is none. The text lives as long as the message.</summary>
    [LibraryImport(Library, EntryPoint = "zmq_msg_gets", SetLastError = true)]
    public static partial byte* Property(ZmqMessage* message, byte* name);

    /// <summary>Takes the message over if it succeeds; else it still is the caller's.</summary>
    [LibraryImport(Library, EntryPoint = "zmq_msg_send", SetLastError = true)]
    public static partial int Send(ZmqMessage* message, nint socket, int flags);

    [LibraryImport(Library, EntryPoint = "zmq_msg_recv", SetLastError = true)]
    public static partial int Receive(ZmqMessage* message, nint socket, int flags);

    /// <summary>A new pair of keys as Z85 text, 40 characters and a zero byte each.</summary>
    [LibraryImport(Library, EntryPoint = "zmq_curve_keypair", SetLastError = true)]
    public static partial int CreateKeys(byte* publicKey, byte* secretKey);

    /// <summary>The public key that belongs to a secret one, as Z85 text with a zero byte.</summary>
    [LibraryImport(Library, EntryPoint = "zmq_curve_public", SetLastError = true)]
    public static partial int PublicKeyOf(byte* publicKey, byte* secretKey);

    /// <summary>An exception for the call that failed last on this thread.</summary>
    public static StoreException Failure(string operation)
    {
        int error = Marshal.GetLastPInvokeError();
        return new StoreException($"{operation} failed: {Marshal.PtrToStringUTF8((nint)ErrorText(error))} (errno {error})");
    }
}

/// <summary>zmq_msg_t: 64 bytes that libzmq owns the meaning of. It must not move while a call is at work; between calls it may be copied as long as one copy alone is used.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
internal struct ZmqMessage
{
#pragma warning disable CS0169, IDE0044, IDE0051 // gives the alignment of a pointer, as in zmq.h
    private nint _first;
#pragma warning restore CS0169, IDE0044, IDE0051
}
