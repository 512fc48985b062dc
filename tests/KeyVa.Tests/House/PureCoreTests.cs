using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using Xunit;

namespace KeyVa.Tests.House;

/// <summary>
/// The consensus core gets time, chance, disk and network from outside: what it calls, as compiled, contains none of them.
/// </summary>
public sealed class PureCoreTests
{
    private static readonly string[] BannedNamespaces = ["System.Threading", "System.Net", "System.IO", "System.Timers"];

    private static readonly string[] BannedTypes =
        ["System.Diagnostics.Stopwatch", "System.Diagnostics.Process", "System.Console", "System.TimeProvider", "System.Security.Cryptography.RandomNumberGenerator"];

    private static readonly string[] BannedMembers =
    [
        "System.DateTime.get_Now", "System.DateTime.get_UtcNow", "System.DateTime.get_Today",
        "System.DateTimeOffset.get_Now", "System.DateTimeOffset.get_UtcNow", "System.Random.get_Shared", "System.Guid.NewGuid",
        "System.Guid.CreateVersion7", "System.Environment.get_TickCount", "System.Environment.get_TickCount64",
    ];

    [Fact]
    public void TheConsensusCoreHasNoClockSocketThreadOrChance()
    {
        List<string> found = Impure("KeyVa.Raft");
        Assert.True(found.Count == 0, $"KeyVa.Raft uses {string.Join(", ", found)}");
    }

    [Fact]
    public void TheCheckSeesWhatOthersUse()
    {
        List<string> found = Impure("KeyVa");
        Assert.Contains(found, static name => name.StartsWith("System.Threading.", StringComparison.Ordinal));
        Assert.Contains("System.TimeProvider", found);
        Assert.Contains(found, static name => name.StartsWith("System.Guid.NewGuid", StringComparison.Ordinal));
    }

    private static List<string> Impure(string assembly)
    {
        using PEReader file = new(File.OpenRead(ReferenceTests.PathOf(assembly)));
        MetadataReader metadata = file.GetMetadataReader();
        List<string> found = [];
        foreach (TypeReferenceHandle handle in metadata.TypeReferences)
        {
            TypeReference type = metadata.GetTypeReference(handle);
            string space = metadata.GetString(type.Namespace);
            string name = NameOf(metadata, handle);
            if (BannedTypes.Contains(name) || BannedNamespaces.Any(banned => space == banned || space.StartsWith(banned + ".", StringComparison.Ordinal)))
            {
                found.Add(name);
            }
        }

        foreach (MemberReferenceHandle handle in metadata.MemberReferences)
        {
            MemberReference member = metadata.GetMemberReference(handle);
            if (member.Parent.Kind != HandleKind.TypeReference)
            {
                continue;
            }

            string type = NameOf(metadata, (TypeReferenceHandle)member.Parent);
            string name = $"{type}.{metadata.GetString(member.Name)}";
            // new Random() takes its seed from the system; new Random(seed) does not.
            bool unseeded = name == "System.Random..ctor" && metadata.GetBlobReader(member.Signature).Length == 3;
            if (BannedMembers.Contains(name) || unseeded)
            {
                found.Add(name);
            }
        }

        return found;
    }

    private static string NameOf(MetadataReader metadata, TypeReferenceHandle handle)
    {
        TypeReference type = metadata.GetTypeReference(handle);
        return $"{metadata.GetString(type.Namespace)}.{metadata.GetString(type.Name)}";
    }
}
