"""FCM, APNs, Web Push and UnifiedPush."""
