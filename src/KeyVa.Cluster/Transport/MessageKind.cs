namespace KeyVa.Cluster.Transport;

/// <summary>What a message between two nodes is. The numbers are on the wire.</summary>
internal enum MessageKind : byte
{
    /// <summary>The first message of a connection: who connects, and to whom.</summary>
    Hello = 1,

    /// <summary>The answer to a hello: the other may send.</summary>
    Welcome = 2,

    /// <summary>The other answer, with a <see cref="Refusal"/>.</summary>
    Refused = 3,

    /// <summary>A frame of the node's driver.</summary>
    Frame = 4,

    /// <summary>A part of a snapshot stream, or of its control.</summary>
    Snapshot = 5,
}

/// <summary>Why a node will not hear another. The numbers are on the wire.</summary>
internal enum Refusal : ushort
{
    None = 0,

    /// <summary>They speak different versions of the protocol.</summary>
    Version = 1,

    /// <summary>They belong to different clusters.</summary>
    Cluster = 2,

    /// <summary>Another node was meant: an address has changed hands.</summary>
    Addressee = 3,

    /// <summary>The sender is not among the peers.</summary>
    Stranger = 4,

    /// <summary>The sender's key is another node's.</summary>
    Key = 5,

    /// <summary>The key was not admitted at all: what libzmq tells of the other side's answer.</summary>
    KeyUnknown = 6,
}

/// <summary>What is wrong with the bytes of a message.</summary>
internal enum MessageFault
{
    None,

    /// <summary>Too short, or of a kind that does not exist.</summary>
    Malformed,

    /// <summary>Of another version.</summary>
    Version,

    /// <summary>Its checksum does not fit.</summary>
    Checksum,
}
