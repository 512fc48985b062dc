using System.Runtime.InteropServices;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>libzmq of the system, loaded only when nodes are to talk to each other. Stateless.</summary>
internal static class ZmqLibrary
{
    private const int Major = 4;
    private const int LeastMinor = 3;

    /// <summary>Makes sure that the library can be called, or throws an exception that says where to get it.</summary>
    /// <param name="name">The library's file; tests give one of their own to see what happens without it.</param>
    public static void Require(string name = Zmq.Library)
    {
        // The handle is kept: what the process calls must not be unloaded.
        if (!NativeLibrary.TryLoad(name, out nint library) || !NativeLibrary.TryGetExport(library, "zmq_msg_gets", out _))
        {
            throw new StoreException($"nodes of a cluster talk to each other through the library {name}, which was not found here; install Debian's package libzmq5");
        }

        Zmq.Version(out int major, out int minor, out int patch);
        if (major != Major || minor < LeastMinor)
        {
            throw new StoreException($"nodes of a cluster need libzmq {Major}.{LeastMinor} or newer, and {name} is {major}.{minor}.{patch}; install Debian's package libzmq5");
        }
    }

    /// <summary>As <see cref="Require"/>, for what encrypts.</summary>
    public static void RequireEncryption()
    {
        Require();
        if (Zmq.Has("curve") == 0)
        {
            throw new StoreException($"{Zmq.Library} was built without CURVE, so that it can neither encrypt nor authenticate; install Debian's package libzmq5, which has it");
        }
    }
}
